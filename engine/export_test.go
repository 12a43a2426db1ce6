package engine

// ParseExports is parseExports.
var ParseExports = parseExports

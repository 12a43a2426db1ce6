package engine

// What the package's own tests look at.
var (
	ParseExports = parseExports
	IsFixed      = isFixed
)

const (
	MaxAhead    = maxAhead
	MaxRemovals = maxRemovals
)

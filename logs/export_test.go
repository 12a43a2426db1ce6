package logs

// Forms is forms, for the reference implementation in the tests.
var Forms = forms

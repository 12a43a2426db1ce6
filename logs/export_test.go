package logs

// Forms are all forms of a secret in full, as a person reads them, for the reference implementation in the
// tests.
func Forms(secret string) []string {
	var all []string
	for f := range formsOf(secret).all {
		var text []byte
		for from := 0; from < len(secret); {
			text, from = f.encode(text, secret, from)
		}
		if text = visibleBytes(text); len(text) >= f.shortest() {
			all = append(all, string(text))
		}
	}
	return all
}

// SecretLines are the lines of a secret that are masked on their own.
var SecretLines = lines

package logs

// VisibleForms and Encodings are the forms of a secret in full that are searched in the visible and in the
// unescaped text, for the reference implementation in the tests.
func VisibleForms(secret string) []string { return written(secret, 1<<plainForm|1<<lowerForm) }
func Encodings(secret string) []string    { return written(secret, encodings(secret)) }

// Quotings are what is searched in the visible text of a secret of which too little is left in the unescaped one.
func Quotings(secret string) (all []string) {
	for _, text := range quotings(secret) {
		all = append(all, string(visibleBytes([]byte(text))))
	}
	return all
}

func written(secret string, forms formSet) (all []string) {
	for f := range forms.all {
		var text []byte
		for from := 0; from < len(secret); {
			text, from = f.encode(text, secret, from)
		}
		if text = f.searched(text); len(text) >= f.shortest() {
			all = append(all, string(text))
		}
	}
	return all
}

// SecretLines are the lines of a secret that are masked on their own.
var SecretLines = lines

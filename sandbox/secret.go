package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// secretsPath is the folder of a step's secrets inside the step.
const secretsPath = "/run/secrets"

// writeSecrets writes a step's secrets below dir, which is in memory. Only the step's user, given
// by its ids on the host, can read them.
func writeSecrets(dir string, secrets []Secret, uid, gid int) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return err
	}
	for _, secret := range secrets {
		name, ok := strings.CutPrefix(secret.Path, secretsPath+"/")
		if !ok || !filepath.IsLocal(name) || strings.Contains(name, "/") {
			return fmt.Errorf("secret file %q: must be a file name below %s", secret.Path, secretsPath)
		}
		path := filepath.Join(dir, name)
		if err := writeFile(path, secret.Value, 0o400); err != nil {
			return err
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

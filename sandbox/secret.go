package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// secretsPath is where a step finds its secrets as files.
const secretsPath = "/run/secrets"

// writeSecrets writes a step's secrets below dir, which is in memory,
// readable by the step's user alone, whose ids are those of the host.
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

package woodpecker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// agentFile is what an agent keeps between starts, in the form of Woodpecker's own agent.
type agentFile struct {
	AgentID int64 `json:"agent_id"`
}

// readAgentFile returns the agent's number, newAgent where there is no file yet.
func readAgentFile(path string) (int64, error) {
	if path == "" {
		return newAgent, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(data)) == "" {
		return newAgent, nil
	}
	file := agentFile{AgentID: newAgent}
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		return newAgent, fmt.Errorf("agent file %s: %w (remove it to begin as a new agent)", path, err)
	}
	return file.AgentID, nil
}

// writeAgentFile keeps the agent's number. A reader finds the old file or the new one.
func writeAgentFile(path string, id int64) error {
	data, err := json.Marshal(agentFile{id})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("agent file: %w", err)
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("agent file: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(fmt.Errorf("agent file: %w", err), os.Remove(temporary))
	}
	return nil
}

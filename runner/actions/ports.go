package actions

import (
	"fmt"
	"strconv"

	"github.com/stepexec/stepexec/pipeline"
)

// mappedPorts reads port mappings as docker does. CONTAINER alone is a free port of the host.
func mappedPorts(mappings []string) ([]pipeline.Port, error) {
	var ports []pipeline.Port
	for _, mapping := range mappings {
		mapped, err := pipeline.ParsePorts(mapping)
		if err != nil {
			return nil, fmt.Errorf("ports: %w", err)
		}
		for _, port := range mapped {
			if port.Host == 0 {
				port.Host = pipeline.FreePort
			}
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// portContext is how the runner wants to hear of ports.
func portContext(ports []pipeline.Port) map[string]string {
	context := map[string]string{}
	for _, port := range ports {
		context[strconv.Itoa(port.Container)] = strconv.Itoa(port.Host)
	}
	return context
}

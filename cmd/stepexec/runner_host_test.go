package main

import (
	"strings"
	"testing"
)

func TestDroneHostHasNoScheme(t *testing.T) {
	t.Setenv("DRONE_RPC_HOST", "https://drone.example.com")
	e := &environ{}
	e.droneOptions()
	if err := e.err(); err == nil || !strings.Contains(err.Error(), "without a scheme") {
		t.Error(err)
	}
}

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMarsIsFirst(t *testing.T) {
	path := os.Getenv("CONFORMANCE")
	if path == "" {
		t.Skip("no servers: make clients LANGS=go starts them")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Servers map[string]struct{ Address string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("go", "run", ".", file.Servers["plain"].Address).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if lines := strings.Split(string(said), "\n"); lines[0] != query || !strings.Contains(lines[1], "Mars") {
		t.Errorf("%s", said)
	}
}

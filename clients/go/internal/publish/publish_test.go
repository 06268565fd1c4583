// Package publish tests what `go get` will give: the module as a zip, and the README's code with it.
package publish

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const version = "v0.1.0"

const head = `package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

var _, _ = errors.New, slices.Values[[]int]

func main() {
	ctx := context.Background()
	client, err := gemwire.Dial("127.0.0.1:50051")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	for i, snippet := range []func(context.Context, *gemwire.Client, string) error{%s} {
		if err := snippet(ctx, client, "conformance-token"); err != nil {
			fmt.Println(i, err)
			os.Exit(1)
		}
	}
}
`

// TestPublish builds the module's zip, and a project that uses it and is the README's code. If there are servers,
// it runs it.
func TestPublish(t *testing.T) {
	folder := t.TempDir()
	path := module.Version{Path: "github.com/gemwire/gemwire/clients/go", Version: version}
	archive, err := os.Create(filepath.Join(folder, "module.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := zip.CreateFromDir(archive, path, "../.."); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Unzip(filepath.Join(folder, "module"), path, archive.Name()); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	project := filepath.Join(folder, "project")
	for name, content := range map[string]string{
		"go.mod": fmt.Sprintf("module example.com/user\n\ngo 1.25.0\n\nrequire %s %s\n\nreplace %s => ../module\n",
			path.Path, path.Version, path.Path),
		"go.sum":  string(sums),
		"main.go": program(t),
	} {
		if err := os.MkdirAll(project, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(project, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("go", "build", "-mod=mod", "-o", "user", ".")
	command.Dir = project
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if os.Getenv("CONFORMANCE") == "" {
		return
	}
	said, err := exec.Command(filepath.Join(project, "user")).CombinedOutput()
	expected := []string{"384 1", "0 384", "2 gemwire: InvalidArgument (EMPTY_TEXT)", "not like this:", "UNSUPPORTED_DIMENSION"}
	for _, line := range expected {
		if err != nil || !strings.Contains(string(said), line) {
			t.Errorf("%v: not %q in %s", err, line, said)
		}
	}
}

// program gives the README's code as a program, with the addresses of the servers if there are any.
func program(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 4 {
		t.Fatalf("%d blocks of code in the README", len(blocks))
	}
	var names []string
	var functions strings.Builder
	for i, block := range blocks {
		name := fmt.Sprintf("snippet%d", i)
		names = append(names, name)
		fmt.Fprintf(&functions, "\nfunc %s(ctx context.Context, client *gemwire.Client, token string) error {\n", name)
		fmt.Fprintf(&functions, "%s\treturn nil\n}\n", block[1])
	}
	code := fmt.Sprintf(head, strings.Join(names, ", ")) + functions.String()
	if path := os.Getenv("CONFORMANCE"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Servers map[string]struct{ Address, CA string }
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		plain, tls := file.Servers["plain"], file.Servers["tls"]
		code = strings.NewReplacer(
			"127.0.0.1:50051", plain.Address, "embed.example.com:443", tls.Address, "ca.pem", tls.CA,
		).Replace(code)
	}
	return code
}

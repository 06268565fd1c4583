package gemwire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gemwire/gemwire/clients/go/gemwire"
	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// A conformance names the servers of the cases: see clients/conformance/README.md.
type conformance struct {
	Servers   map[string]server          `json:"servers"`
	Reference map[string]json.RawMessage `json:"reference"`
	Cases     string                     `json:"cases"`
}

type server struct {
	Address string `json:"address"`
	CA      string `json:"ca"`
	Cert    string `json:"cert"`
	Key     string `json:"key"`
}

type testCase struct {
	Name    string          `json:"name"`
	Server  string          `json:"server"`
	Token   string          `json:"token"`
	Timeout json.RawMessage `json:"timeout"` // empty: absent
	Call    callSpec        `json:"call"`
	Expect  expectation     `json:"expect"`
}

type callSpec struct {
	Method            string      `json:"method"`
	Text              textSpec    `json:"text"`
	Texts             textsSpec   `json:"texts"`
	Titles            []string    `json:"titles"`
	Source            textSpec    `json:"source"`
	Targets           textsSpec   `json:"targets"`
	Task              string      `json:"task"`
	TargetTask        string      `json:"target_task"`
	Dimensions        uint32      `json:"dimensions"`
	Options           optionsSpec `json:"options"`
	IDs               []uint32    `json:"ids"`
	KeepSpecialTokens bool        `json:"keep_special_tokens"`
	Ordered           *bool       `json:"ordered"`
	StopAfter         int         `json:"stop_after"`
	Calls             int         `json:"calls"`
}

type optionsSpec struct {
	Task       string  `json:"task"`
	PromptName *string `json:"prompt_name"`
	Prompt     *string `json:"prompt"`
	Dimensions uint32  `json:"dimensions"`
	Normalize  *bool   `json:"normalize"`
	Truncation string  `json:"truncation"`
	Encoding   string  `json:"encoding"`
	Priority   int32   `json:"priority"`
}

type textSpec gemwire.Input

func (t *textSpec) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, &t.Text)
	}
	var given struct {
		Text  string   `json:"text"`
		Title string   `json:"title"`
		IDs   []uint32 `json:"ids"`
		Bytes int      `json:"bytes"`
	}
	if err := unmarshal(data, &given); err != nil {
		return err
	}
	*t = textSpec{Text: given.Text + strings.Repeat("a", given.Bytes), Title: given.Title, IDs: given.IDs}
	return nil
}

type textsSpec []gemwire.Input

func (t *textsSpec) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		var given struct {
			Count int `json:"count"`
		}
		if err := unmarshal(data, &given); err != nil {
			return err
		}
		for i := range given.Count {
			*t = append(*t, gemwire.Input{Text: fmt.Sprintf("text %d", i)})
		}
		return nil
	}
	var given []textSpec
	if err := json.Unmarshal(data, &given); err != nil {
		return err
	}
	for _, text := range given {
		*t = append(*t, gemwire.Input(text))
	}
	return nil
}

// unmarshal refuses keys that it does not know: a case must not ask for more than the runner checks.
func unmarshal(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// servers reads the file that the variable CONFORMANCE names.
func servers(t *testing.T) conformance {
	t.Helper()
	path := os.Getenv("CONFORMANCE")
	if path == "" {
		t.Skip("no servers: make clients LANGS=go starts them")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c conformance
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c conformance) cases(t *testing.T) []testCase {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.Cases, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in %s: %v", c.Cases, err)
	}
	var all []testCase
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Cases []json.RawMessage }
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, raw := range file.Cases {
			// These are for the servers alone.
			given := struct {
				testCase
				About  string          `json:"about"`
				Script json.RawMessage `json:"script"`
				Model  json.RawMessage `json:"model"`
				Asks   json.RawMessage `json:"asks"`
			}{}
			if err := unmarshal(raw, &given); err != nil {
				t.Fatalf("%s, %s: %v", path, given.Name, err)
			}
			all = append(all, given.testCase)
		}
	}
	return all
}

// dial makes the client of a case; its token is given.
func (c conformance) dial(t *testing.T, name, token string, timeout json.RawMessage) *gemwire.Client {
	t.Helper()
	at, ok := c.Servers[name]
	if !ok {
		t.Fatalf("no server %q", name)
	}
	seconds := 20.0
	if len(timeout) > 0 {
		seconds = 0 // null
		if err := json.Unmarshal(timeout, &seconds); err != nil {
			t.Fatal(err)
		}
	}
	opts := []gemwire.DialOption{gemwire.WithTimeout(time.Duration(seconds * float64(time.Second)))}
	if token != "" {
		opts = append(opts, gemwire.WithToken(token))
	}
	if at.CA != "" {
		opts = append(opts, gemwire.WithCAFile(at.CA))
	}
	if at.Cert != "" {
		opts = append(opts, gemwire.WithClientCertificate(at.Cert, at.Key))
	}
	client, err := gemwire.Dial(at.Address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// options gives the options of a call.
func (c callSpec) options(t *testing.T) []gemwire.Option {
	t.Helper()
	o := c.Options
	if c.Task != "" {
		o.Task = c.Task
	}
	if c.Dimensions != 0 {
		o.Dimensions = c.Dimensions
	}
	var opts []gemwire.Option
	if o.Task != "" {
		opts = append(opts, gemwire.WithTask(gemwire.Task(number(t, pb.TaskType_value, "TASK_TYPE_", o.Task))))
	}
	if c.TargetTask != "" {
		task := gemwire.Task(number(t, pb.TaskType_value, "TASK_TYPE_", c.TargetTask))
		opts = append(opts, gemwire.WithTargetTask(task))
	}
	if o.PromptName != nil {
		opts = append(opts, gemwire.WithPromptName(*o.PromptName))
	}
	if o.Prompt != nil {
		opts = append(opts, gemwire.WithPrompt(*o.Prompt))
	}
	if o.Dimensions != 0 {
		opts = append(opts, gemwire.WithDimensions(o.Dimensions))
	}
	if o.Normalize != nil {
		opts = append(opts, gemwire.WithNormalize(*o.Normalize))
	}
	if o.Truncation != "" {
		truncation := gemwire.Truncation(number(t, pb.Truncation_value, "TRUNCATION_", o.Truncation))
		opts = append(opts, gemwire.WithTruncation(truncation))
	}
	if o.Encoding != "" {
		encoding := gemwire.Encoding(number(t, pb.VectorEncoding_value, "VECTOR_ENCODING_", o.Encoding))
		opts = append(opts, gemwire.WithEncoding(encoding))
	}
	if o.Priority != 0 {
		opts = append(opts, gemwire.WithPriority(o.Priority))
	}
	if c.Ordered != nil && !*c.Ordered {
		opts = append(opts, gemwire.WithUnordered())
	}
	return opts
}

// number gives the number of an enum's word, such as "retrieval_query".
func number(t *testing.T, numbers map[string]int32, prefix, word string) int32 {
	t.Helper()
	n, ok := numbers[prefix+strings.ToUpper(word)]
	if !ok {
		t.Fatalf("no enum value %s%s", prefix, word)
	}
	return n
}

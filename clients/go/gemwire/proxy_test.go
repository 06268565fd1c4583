package gemwire_test

import (
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	if os.Getenv("TEST_AGAIN") != "" {
		client, err := gemwire.Dial("gemwire.invalid:443", gemwire.WithTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.EmbedQuery(t.Context(), "a"); err == nil {
			t.Error("no error")
		}
		return
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	var asked atomic.Bool
	go func() {
		if conn, err := proxy.Accept(); err == nil {
			asked.Store(true)
			conn.Close()
		}
	}()
	// A process reads these variables once.
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), "HTTPS_PROXY=http://"+proxy.Addr().String(), "TEST_AGAIN=1")
	if said, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	if asked.Load() {
		t.Error("the proxy was asked")
	}
}

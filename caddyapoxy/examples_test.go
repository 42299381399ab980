package caddyapoxy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// Every Caddyfile that is shown to anyone adapts, is formatted as `caddy fmt`
// would, and passes `caddy validate`, which opens no store and no socket.
func TestShownCaddyfilesAreValid(t *testing.T) {
	t.Setenv("TUNNEL_TOKEN", "secret")
	t.Setenv("SHOP_API_KEY", "secret")
	t.Setenv("OPS_HASH", "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG")
	t.Setenv("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	t.Chdir("..") // the examples name their files from the top of the tree
	shown := map[string][]byte{}
	for name, value := range map[string]string{ // as examples/cluster/up.sh sets them
		"NODE": "n1", "ADMIN_PORT": "12019", "HTTP_PORT": "18080", "HTTPS_PORT": "18443", "DNS_PORT": "15353", "ETCD_ENDPOINTS": "http://127.0.0.1:12379",
	} {
		t.Setenv(name, value)
	}
	for _, pattern := range []string{"examples/*Caddyfile", "examples/*/Caddyfile"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("finding the examples: %v, %d found", err, len(files))
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			shown[file] = content
		}
	}
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(docs, "README.md") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range blocks.FindAllSubmatch(content, -1) {
			shown[filepath.Base(file)+" block "+string(rune('1'+i))] = block[1]
		}
	}
	if _, ok := shown["README.md block 1"]; !ok {
		t.Error("the README shows no Caddyfile")
	}
	storage, etc := storageDir(t), shownFiles(t)
	for name, content := range shown {
		t.Run(name, func(t *testing.T) {
			content := bytes.ReplaceAll(content, []byte("/etc/caddy/"), []byte(etc+"/"))
			if formatted := caddyfile.Format(content); string(formatted) != string(content) {
				t.Errorf("not formatted, `caddy fmt` gives\n%s", formatted)
			}
			adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(content, map[string]any{"filename": name})
			if err != nil || len(warnings) > 0 {
				t.Fatalf("adapting: %v, %v", err, warnings)
			}
			var config caddy.Config
			if err := json.Unmarshal(adapted, &config); err != nil {
				t.Fatal(err)
			}
			config.StorageRaw = caddyconfig.JSONModuleObject(map[string]string{"root": storage}, "module", "file_system", nil)
			if err := caddy.Validate(&config); err != nil {
				t.Errorf("validating: %v", err)
			}
		})
	}
}

// shownFiles is a directory with the files that Caddyfiles name in /etc/caddy.
func shownFiles(t *testing.T) string {
	t.Helper()
	dir, cert := t.TempDir(), certtest.New(t, "n1.example.net", 1, time.Hour)
	for name, content := range map[string][]byte{
		"etcd-ca.pem": cert.Chain, "etcd.pem": cert.Chain, "etcd.key": cert.KeyPEM,
		"storage.key": []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The functions that examples name are there and compile.
func TestShownFunctionsCompile(t *testing.T) {
	t.Chdir("..")
	files, err := filepath.Glob("examples/*Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^\s*edgefunction \S+ (\S+)`)
	found := 0
	for _, example := range files {
		content, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(content, -1) {
			found++
			meant, err := (&EdgeFunction{File: string(m[1])}).meant("shown")
			if err != nil {
				t.Fatalf("%s: %v", example, err)
			}
			f := newFunction(meant, zap.NewNop(), 0)
			if well, message := f.Health(); !well {
				t.Errorf("%s: %s", example, message)
			}
			if err := f.Destruct(); err != nil {
				t.Error(err)
			}
		}
	}
	if found == 0 {
		t.Error("no example has a function")
	}
}

package caddyapoxy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

// commandLine runs commands as `caddy apoxy` has them.
func commandLine(t *testing.T, args ...string) (out, said string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := &cobra.Command{Use: "apoxy"}
	root.AddCommand(storeCommand(), backupCommand(), restoreCommand())
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// boltFile makes a store in a file, with key-values.
func boltFile(t *testing.T, keysAndValues ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(keysAndValues); i += 2 {
		if _, err := s.Write(t.Context(), store.Op{Key: keysAndValues[i], Value: []byte(keysAndValues[i+1]), If: store.Any}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// holds is what a store holds that nobody has open, a line for each key.
func holds(t *testing.T, text string) string {
	t.Helper()
	m, err := storeOfText("--store", text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.(readOnlyStore).OpenReadOnly()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, kv := range res.KeyValues {
		if !store.Ephemeral(kv.Key) {
			fmt.Fprintf(&out, "%s=%s (%v)\n", kv.Key, kv.Value, kv.Err)
		}
	}
	return out.String()
}

// like checks a command's output against a pattern, in which X stands for anything.
func like(t *testing.T, what, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), "X", ".+") + "$").MatchString(got) {
		t.Errorf("%s says\n%s\nwant\n%s", what, got, pattern)
	}
}

func TestStoresAreCopiedOffline(t *testing.T) {
	bolt := boltFile(t, "domainrecords/a", "1", "nodes/n1", "live", "storage/key", "secret")
	endpoint := etcdtest.Start(t)
	etcd := func(prefix string) string { return "etcd { endpoints " + endpoint + "; prefix /" + prefix + " }" }
	want := holds(t, "bolt "+bolt)
	second := filepath.Join(t.TempDir(), "second.db")
	for _, c := range []struct{ from, to, says string }{
		{"bolt " + bolt, etcd("one"), "copied 2 values, as of revision 4 of bolt:X, to etcd:http://X/one, and compared them.\n"},
		{etcd("one"), etcd("two"), "copied 2 values, as of revision X of etcd:X/one, to etcd:X/two, and compared them.\nWhat was written since is not in it: to move without loss, stop Caddy, or whatever writes, and copy then.\n"},
		{etcd("two"), "bolt " + second, "copied 2 values, as of revision X of etcd:X/two, to bolt:X/second.db, and compared them.\nWhat was writtenX\n"},
		{"bolt " + second, "bolt " + second + "3", "copied 2 values, as of revision X of bolt:X/second.db, to bolt:X/second.db3, and compared them.\n"},
	} {
		out, said, err := commandLine(t, "store", "copy", "--from", c.from, "--to", c.to)
		if err != nil || said != "" || holds(t, c.to) != want {
			t.Fatalf("%s to %s: %v, %q, %s", c.from, c.to, err, said, holds(t, c.to))
		}
		like(t, "copy", out, c.says)
		_, said, err = commandLine(t, "store", "copy", "--from", c.from, "--to", c.to)
		if err == nil || !strings.Contains(said, "nothing is ever overwritten") || strings.Count(said, "\n") != 1 || holds(t, c.to) != want {
			t.Errorf("%s once more: %v, %q", c.to, err, said)
		}
	}
	// With a key of a node, it is in use.
	if err := provisioned(t, endpoint, "/used").opened(func(s store.Store) error {
		_, err := s.Write(t.Context(), store.Op{Key: "nodes/n1", Value: []byte("x"), If: store.Any})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, said, err := commandLine(t, "store", "copy", "--from", "bolt "+bolt, "--to", etcd("used")); err == nil || !strings.Contains(said, "stop the Caddy that uses it") {
		t.Errorf("in use: %v, %q", err, said)
	}
}

func TestBackupAndRestoreOffline(t *testing.T) {
	bolt := boltFile(t, "domainrecords/a", "1", "nodes/n1", "live", "storage/key", "secret")
	endpoint := etcdtest.Start(t)
	want := holds(t, "bolt "+bolt)
	dir := t.TempDir()
	file, again := filepath.Join(dir, "one.backup"), filepath.Join(dir, "two.backup")
	out, said, err := commandLine(t, "backup", file, "--store", "bolt "+bolt)
	if err != nil || said != "" {
		t.Fatalf("%v, %q", err, said)
	}
	like(t, "backup", out, file+" holds 2 values, as of revision 4 of bolt:X. Keep it as you keep private keys.\n")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	before := readFile(t, file)
	if _, said, err := commandLine(t, "backup", file, "--store", "bolt "+bolt); err == nil || !strings.Contains(said, "nothing is ever overwritten") || !bytes.Equal(readFile(t, file), before) {
		t.Errorf("over a file: %v, %q", err, said)
	}
	config := filepath.Join(dir, "Caddyfile")
	writeFile(t, config, []byte("{\n\tapoxy {\n\t\tzone cname.example.net {\n\t\t\tnameserver ns1.example.net 192.0.2.1\n\t\t\tedge 192.0.2.1\n\t\t}\n\t\tstore etcd {\n\t\t\tendpoints "+endpoint+"\n\t\t}\n\t}\n}\n"))
	text := "etcd { endpoints " + endpoint + " }"
	for n := range len(before) / 16 {
		cut := filepath.Join(dir, "cut.backup")
		writeFile(t, cut, before[:16*n])
		_, said, err := commandLine(t, "restore", cut, "--config", config)
		if err == nil || !strings.Contains(said, "not a whole backup") || !strings.Contains(said, "nothing was written") || holds(t, text) != "" {
			t.Fatalf("%d bytes: %v, %q", 16*n, err, said)
		}
	}
	out, said, err = commandLine(t, "restore", file, "--config", config)
	if err != nil || said != "" || holds(t, text) != want {
		t.Fatalf("%v, %q: %s", err, said, holds(t, text))
	}
	like(t, "restore", out, "etcd:X holds 2 values now, as of revision 4 of bolt:X at 2X, and they were compared.\n")
	if _, said, err := commandLine(t, "restore", file, "--config", config); err == nil || !strings.Contains(said, "nothing is ever overwritten") {
		t.Errorf("over a store: %v, %q", err, said)
	}
	if _, said, err := commandLine(t, "restore", file, "--store", "bolt "+bolt); err == nil || !strings.Contains(said, "nothing is ever overwritten") || holds(t, "bolt "+bolt) != want {
		t.Errorf("over a file: %v, %q", err, said)
	}
	if _, said, err = commandLine(t, "backup", again, "--config", config); err != nil {
		t.Fatalf("%v, %q", err, said)
	}
	back := filepath.Join(dir, "back.db")
	if _, said, err = commandLine(t, "restore", again, "--store", "bolt "+back); err != nil || holds(t, "bolt "+back) != want {
		t.Fatalf("%v, %q", err, said)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 5 {
		t.Errorf("what is there: %v", entries)
	}
}

func TestDamagedValuesAreNamedAndLeftOut(t *testing.T) {
	bolt := boltFile(t, "domainrecords/a", "1", "domainrecords/b", "spoil this", "domainrecords/c", "3")
	storetest.Spoil(t, bolt, "spoil this")
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	const named = "left out: \"domainrecords/b\": its checksum does not hold\n"
	for _, args := range [][]string{
		{"store", "copy", "--from", "bolt " + bolt, "--to", "bolt " + dir + "/copied.db"},
		{"backup", file, "--store", "bolt " + bolt},
	} {
		out, said, err := commandLine(t, args...)
		if err == nil || !strings.HasPrefix(said, named+"error: 1 damaged values were left out") || !strings.Contains(out, " 2 values") {
			t.Errorf("%s: %v, %q, %q", args, err, said, out)
		}
	}
	if _, said, err := commandLine(t, "restore", file, "--store", "bolt "+dir+"/restored.db"); err != nil || said != named {
		t.Errorf("restore: %v, %q", err, said)
	}
	for _, name := range []string{"copied", "restored"} {
		if got := holds(t, "bolt "+dir+"/"+name+".db"); got != "domainrecords/a=1 (<nil>)\ndomainrecords/c=3 (<nil>)\n" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTransferCommandsRefuseWrongUsage(t *testing.T) {
	bolt := boltFile(t, "a", "1")
	config := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, config, []byte("{\n\tapoxy {\n\t\tstore bolt\n"))
	for want, args := range map[string][]string{
		"give both --from and --to":                         {"store", "copy", "--from", "bolt x"},
		"a text with spaces needs quotes":                   {"store", "copy", "--from", "bolt", "./x", "--to", "bolt y"},
		"are one store":                                     {"store", "copy", "--from", "bolt " + bolt, "--to", "bolt " + bolt},
		"neither a file that exists nor begins with":        {"store", "copy", "--from", "sqlite x", "--to", "bolt y"},
		"is a file, and so is read as a configuration":      {"store", "copy", "--from", bolt, "--to", "bolt y"},
		"is a file, and so is read as a configuration: ada": {"store", "copy", "--from", config, "--to", "bolt y"},
		"store postgres is not part of this version":        {"store", "copy", "--from", "bolt x", "--to", "postgres { dsn x }"},
		"takes no argument, got \"x\"":                      {"store", "compact", "x"},
		"give one of --config and --store":                  {"store", "compact", "--config", "x", "--store", "bolt x"},
		"backup takes the name of one file, got 0":          {"backup"},
		"give one of --config, --store and --address":       {"backup", "x", "--store", "bolt x", "--address", "y"},
		"restore takes the name of one file, got 2":         {"restore", "x", "y"},
		"name the store to make":                            {"restore", "x"},
		"unknown flag: --force":                             {"restore", "x", "--force"},
	} {
		if _, said, err := commandLine(t, args...); err == nil || !strings.Contains(said, want) || !strings.HasPrefix(said, "error: ") || strings.Count(said, "\n") != 1 {
			t.Errorf("%q: %v, %q; want %q", args, err, said, want)
		}
	}
	for want, args := range map[string][]string{
		"there is no such file":                 {"store", "copy", "--from", "bolt " + bolt + "x", "--to", "bolt " + bolt + "y"},
		"there is no such file: name":           {"store", "compact", "--store", "bolt " + bolt + "x"},
		"etcdctl defrag":                        {"store", "compact", "--store", "etcd { endpoints http://127.0.0.1:1 }"},
		"not a whole backup":                    {"restore", bolt, "--store", "bolt " + bolt + "y"},
		"no such file or directory":             {"restore", bolt + "x", "--store", "bolt " + bolt + "y"},
		"is no regular file":                    {"restore", filepath.Dir(bolt), "--store", "bolt " + bolt + "y"},
		"no such file or directory\n":           {"backup", bolt + "x/y", "--store", "bolt " + bolt},
		"the store is not available|http://127": {"store", "copy", "--from", "bolt " + bolt, "--to", "etcd { endpoints http://127.0.0.1:1; timeout 300ms }"},
	} {
		if _, said, err := commandLine(t, args...); err == nil || !regexp.MustCompile(want).MatchString(said) || strings.Count(said, "\n") != 1 {
			t.Errorf("%q: %v, %q; want %q", args, err, said, want)
		}
	}
	out, said, err := commandLine(t, "store", "compact", "--store", "bolt "+bolt)
	if err != nil || said != "" {
		t.Fatalf("%v, %q", err, said)
	}
	like(t, "compact", out, "bolt:X/apoxy.db has X bytes now, it had X.\n")
}

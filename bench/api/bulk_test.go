package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
)

// bulkRecords is how many files BenchmarkApplyDirectory applies by one command.
const bulkRecords = 100_000

// BenchmarkApplyDirectory is `apply -f DIRECTORY` of 100,000 files, and the same again,
// which changes nothing. Server and command are one process, so that cpu-µs/record is
// what both take.
func BenchmarkApplyDirectory(b *testing.B) {
	w := newWorld(b)
	dir := b.TempDir()
	for i := range bulkRecords {
		name := fmt.Sprintf("n%06d.bulk.example", i)
		text := fmt.Sprintf(`apiVersion: core.apoxy.dev/v1alpha3
kind: DomainRecord
metadata:
  name: %s
  labels:
    core.apoxy.dev/owner: tenant-%d
spec:
  name: %[1]s
  tls: {}
  target:
    ref:
      kind: Gateway
      name: default
`, name, i/4)
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, what := range []string{"created", "unchanged"} {
		b.Run(what, func(b *testing.B) {
			if b.N > 1 {
				b.Fatal("one run makes all of them: -benchtime 1x")
			}
			before := cpu(b)
			begun := time.Now()
			var out, errs bytes.Buffer
			cmd := cli.Command(cli.Env{
				Client: func(*cobra.Command) (*http.Client, string, error) {
					return cli.AddressClient(strings.TrimSuffix(strings.TrimPrefix(w.url, "http://"), listPath))
				},
				Stdout: &out, Stderr: &errs,
			})
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			cmd.SetArgs([]string{"apply", "-f", dir})
			if err := cmd.Execute(); err != nil {
				b.Fatal(err, errs.String())
			}
			if n := bytes.Count(out.Bytes(), []byte(" "+what+"\n")); n != bulkRecords {
				b.Fatalf("%d records %s", n, what)
			}
			b.ReportMetric(bulkRecords/time.Since(begun).Seconds(), "records/s")
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/bulkRecords, "cpu-µs/record")
		})
	}
}

// cpu is the processor time of this process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

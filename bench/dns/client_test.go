package dns

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/bench"
)

// kinds are the questions, and the share of each kind in four.
var kinds = []struct {
	share int
	qtype uint16
	owner func(i int) string
	rcode int
}{
	{2, dns.TypeA, func(i int) string { return bench.Hostname(i) + "." + bench.Zone + "." }, dns.RcodeSuccess},
	{1, dns.TypeTXT, func(i int) string { return "_acme-challenge." + bench.Hostname(i) + "." + bench.Zone + "." }, dns.RcodeSuccess},
	{1, dns.TypeA, func(i int) string { return "nobody." + bench.Hostname(i) + "." + bench.Zone + "." }, dns.RcodeNameError},
}

// writeQuestions writes what dnsperf asks: three questions for each record, in
// an order of no meaning that is the same every time.
func writeQuestions(b *testing.B, dir string) string {
	b.Helper()
	var lines []string
	for i := range records {
		for _, k := range kinds {
			for range k.share {
				lines = append(lines, fmt.Sprintf("%s %s\n", k.owner(i), dns.TypeToString[k.qtype]))
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // any order will do
	random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return write(b, filepath.Join(dir, "questions"), strings.Join(lines, ""))
}

// compare makes sure that all give the same answer to every kind of question.
func compare(b *testing.B, servers []*server) {
	b.Helper()
	for _, k := range kinds {
		for _, i := range []int{0, records / 2, records - 1} {
			var sizes []int
			for _, s := range servers {
				m, err := dns.Exchange(new(dns.Msg).SetQuestion(k.owner(i), k.qtype), s.addr())
				if err != nil {
					b.Fatalf("%s: %v: %s", s.name, err, s.tail())
				}
				if m.Rcode != k.rcode || !m.Authoritative {
					b.Fatalf("%s: want an authoritative %s:\n%s", s.name, dns.RcodeToString[k.rcode], m)
				}
				m.Compress = true
				sizes = append(sizes, m.Len())
			}
			if slices.Min(sizes) != slices.Max(sizes) {
				b.Fatalf("%s %s: the answers have %d octets", k.owner(i), dns.TypeToString[k.qtype], sizes)
			}
		}
	}
}

// run is one round of one server.
type run struct {
	rate, latency, cpu float64 // answers a second; µs; µs of processor time each
	lost               int
}

var (
	completed = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	rate      = regexp.MustCompile(`Queries per second:\s+([\d.]+)`)
	latency   = regexp.MustCompile(`Average Latency \(s\):\s+([\d.]+)`)
)

// ask has dnsperf ask the server for one round, on the core that is not the
// server's, or on both: one thread, 100 questions on their way at most.
func (s *server) ask(b *testing.B, questions, proto string) run {
	b.Helper()
	cpu := s.cpu(b)
	clients := "1" // connections over TCP; and of both cores each wants questions of its own
	if proto == "tcp" || s.cores > 1 {
		clients = "16"
	}
	cmd := exec.Command("taskset", "-c", []string{"1", "0,1"}[s.cores-1], "dnsperf", "-m", proto, "-s", "127.0.0.1", "-p", strconv.Itoa(s.port), "-d", questions,
		"-l", strconv.Itoa(int(round.Seconds())), "-c", clients, "-T", "1", "-q", "100", "-b", "4096")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("running dnsperf (Debian package dnsperf): %v: %s", err, out)
	}
	spent := s.cpu(b) - cpu
	value := func(r *regexp.Regexp) float64 {
		m := r.FindSubmatch(out)
		if m == nil {
			b.Fatalf("dnsperf says nothing of %v: %s", r, out)
		}
		f, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			b.Fatal(err)
		}
		return f
	}
	n := value(completed)
	if n == 0 {
		b.Fatalf("%s answered nothing: %s", s.name, s.tail())
	}
	return run{value(rate), value(latency) * 1e6, float64(spent.Microseconds()) / n, int(value(lost))}
}

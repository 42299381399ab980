package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/apoxy-dev/caddy-apoxy"
	root   = "../.."
)

// rooms are the packages from the top of the house to its ground: each may
// import only those that stand after it, and of those only what its rule allows.
var rooms = []string{
	"cmd/caddy", "cmd/apoxy-tunnel", "caddyapoxy", "setup", "dashboard", "cli", "doctor", "cluster", "controller", "certstorage", "issuance",
	"issuance/acme", "issuance/edge", "issuance/certfiles", "issuance/ownchain", "issuance/revocation", "issuance/fairqueue", "apiserver", "apiserver/hostiletest", "dnsprovider",
	"webhook", "timeline", "vitals", "target", "edgefunction/command", "edgefunction/engines", "edgefunction/js", "edgefunction/wasm", "edgefunction", "tunnel/command", "tunnel", "domainconnect/command", "domainconnect", "hosts", "resolver", "ownership", "dnshosting", "store/boltstore", "store/etcdstore", "store/history", "store/mirror", "store/pack", "store/snapshot", "store/storetest", "store/damage", "store", "advice", "api/v1alpha3",
	"internal/acmetest", "internal/certtest", "internal/etcdtest", "internal/freeport", "internal/specialpurpose", "internal/lru", "internal/jsonscan", "internal/filewatch", "internal/wasmloops", "internal/times", "internal/words", "internal/webui",
}

// allowed lists what each room may import of the house, with the reason.
var allowed = map[string]struct {
	rooms []string
	why   string
}{
	"cmd/caddy":       {[]string{"caddyapoxy"}, "the command only names the modules it is built of"},
	"caddyapoxy":      {[]string{"setup", "advice", "dashboard", "cli", "doctor", "cluster", "controller", "certstorage", "issuance", "issuance/acme", "issuance/edge", "issuance/certfiles", "issuance/ownchain", "issuance/revocation", "apiserver", "dnsprovider", "target", "edgefunction", "edgefunction/command", "edgefunction/engines", "tunnel", "tunnel/command", "domainconnect", "domainconnect/command", "webhook", "timeline", "vitals", "hosts", "resolver", "ownership", "store", "store/boltstore", "store/etcdstore", "store/mirror", "store/snapshot", "store/damage", "api/v1alpha3", "internal/specialpurpose", "internal/lru"}, "the wiring knows every room"},
	"dashboard":       {[]string{"advice", "api/v1alpha3", "internal/webui"}, "pages are made of what the API answers and of facts that are told; a page that knew the insides would be a second truth"},
	"setup":           {[]string{"ownership", "dnshosting", "store", "api/v1alpha3", "internal/webui"}, "the customer's page is made of a record and of words: whose record, and how it came to be, it does not know; the core's names of mistakes it shares, so that each has words"},
	"cluster":         {[]string{"store"}, "who is live, and whose work is whose, is told of nodes and keys; what the work is, it does not know"},
	"cli":             {[]string{"advice", "api/v1alpha3"}, "the command line is a client of the API and of nothing else"},
	"advice":          {[]string{"api/v1alpha3"}, "what a record's messages ask for is sorted out in one way for all who show it, from what the API says alone"},
	"doctor":          {[]string{"ownership", "api/v1alpha3"}, "the doctor looks from outside: it knows the configuration and the names, and would believe itself if it knew the insides; the core's pure judgements it shares, so that it says what conditions say"},
	"controller":      {[]string{"issuance", "hosts", "resolver", "ownership", "store", "api/v1alpha3", "internal/jsonscan", "internal/lru"}, "the shell has DNS looked at, asks the core and writes; it serves nothing"},
	"issuance":        {[]string{"issuance/acme", "issuance/edge", "issuance/certfiles", "issuance/ownchain", "issuance/revocation", "issuance/fairqueue", "ownership", "store", "api/v1alpha3", "internal/jsonscan", "internal/times", "internal/words"}, "certificates know no DNS server, no handler and no table"},
	"certstorage":     {[]string{"issuance/certfiles", "store"}, "storage knows the store, and what certmagic's locks are for; it knows no record, no queue and no engine"},
	"apiserver":       {[]string{"ownership", "store", "api/v1alpha3", "internal/jsonscan"}, "the API must work over any store, without Caddy or a controller; who may replace whom is the core's to decide"},
	"dnsprovider":     {[]string{"store", "api/v1alpha3", "internal/filewatch"}, "the zone reads records through its own small interface"},
	"webhook":         {[]string{"store", "internal/times", "internal/words"}, "who is told of events knows neither records nor who raises them"},
	"timeline":        {[]string{"store", "internal/words"}, "what became of a record is told in words and by a uid: it knows no condition and no page"},
	"vitals":          {nil, "counters are remembered whatever they count"},
	"target":          {[]string{"edgefunction", "tunnel", "internal/specialpurpose"}, "targets know no records"},
	"edgefunction":    {[]string{"internal/filewatch", "internal/words"}, "a function is a file and what it may do: it knows no engine, no record and no Caddy"},
	"tunnel":          {nil, "programs embed an agent: it brings nothing but itself"},
	"tunnel/command":  {[]string{"tunnel"}, "the agent's command is the same in Caddy and without: it knows the agent alone"},
	"hosts":           {[]string{"store", "api/v1alpha3", "internal/jsonscan"}, "the table is fed by the watch and feeds everyone"},
	"resolver":        {[]string{"ownership", "api/v1alpha3", "internal/specialpurpose", "internal/lru"}, "who asks DNS tells what it saw in the core's words; it knows no records, no store and no certificates"},
	"ownership":       {[]string{"dnshosting", "api/v1alpha3"}, "the core is pure: facts in, conditions out"},
	"domainconnect":   {[]string{"store", "api/v1alpha3", "internal/specialpurpose", "internal/lru"}, "what DNS providers offer is found out by their protocol alone: it sees DNS through its own small interface, and writes no status"},
	"dnshosting":      {nil, "whose name servers are whose is a table: who has looked at a zone asks it, and it asks nobody"},
	"store":           {nil, "the contract knows not what the bytes mean"},
	"store/boltstore": {[]string{"store/history", "store/pack", "store"}, "an engine knows the contract and what engines share"},
	"store/etcdstore": {[]string{"store/history", "store/pack", "store"}, "an engine knows the contract and what engines share"},
	"store/history":   {[]string{"store"}, "recent changes are kept in one way for all engines"},
	"store/mirror":    {[]string{"store/pack", "store"}, "a copy is of any engine"},
	"store/pack":      {nil, "how values are made short is the same for all that keep them, and knows not what they are"},
	"store/damage":    {[]string{"store"}, "what is damaged is told by engines and rooms; it is only kept account of here"},
	"store/snapshot":  {[]string{"store"}, "what leaves a store and comes into another is the same for all engines"},
	"store/storetest": {[]string{"store"}, "one suite for every engine"},
	"api/v1alpha3":    {nil, "clients import the API alone"},

	"domainconnect/command": {[]string{"domainconnect"}, "the template is written and looked at without Caddy"},
	"edgefunction/command":  {[]string{"edgefunction", "edgefunction/engines"}, "a function is run locally without Caddy"},
	"edgefunction/engines":  {[]string{"edgefunction", "edgefunction/js", "edgefunction/wasm"}, "which engine runs a file is said in one place"},
	"edgefunction/js":       {[]string{"edgefunction", "internal/wasmloops", "internal/words"}, "an engine knows what a function may do, and how what runs in WebAssembly is ended"},
	"edgefunction/wasm":     {[]string{"edgefunction", "internal/wasmloops", "internal/words"}, "an engine knows what a function may do, and its own machine"},

	"issuance/acme":       {[]string{"issuance/certfiles", "internal/times", "internal/words"}, "one CA and one order: it knows no queue, no record and no store"},
	"issuance/edge":       {[]string{"internal/words"}, "whether CAs reach us is seen from outside: it knows no order and no record"},
	"issuance/certfiles":  {[]string{"internal/words"}, "what is certmagic's inside is known here and nowhere else; it knows no record, no store and no CA"},
	"issuance/ownchain":   {[]string{"internal/words"}, "what a customer brings is judged by itself: it knows no storage, no record and no CA of ours"},
	"issuance/revocation": {[]string{"internal/times", "internal/words"}, "what CAs and their responders say of a certificate; who acts on it stands above"},
	"issuance/fairqueue":  {nil, "a queue knows not what waits in it"},

	"internal/specialpurpose": {nil, "a table of addresses: whoever contacts what a stranger names asks it, and it asks nobody"},
	"internal/webui":          {nil, "how a page looks and moves is the same for all; what it shows, it does not know"},
	"internal/lru":            {nil, "a memory knows not what it holds"},
	"internal/filewatch":      {nil, "files are looked at in this one way; what they hold is their reader's"},
	"internal/wasmloops":      {nil, "a guest's loops are counted whatever the guest is for"},
	"internal/times":          {nil, "the standard library's times, and no more"},
	"internal/words":          {nil, "the standard library's strings, and no more"},
	"internal/acmetest":       {nil, "a CA for tests knows the protocol alone, so that every room can be tested against it"},
	"internal/etcdtest":       {[]string{"internal/freeport"}, "a real etcd for tests is a program and its address"},
	"internal/freeport":       {nil, "an address for a test's server is nobody's"},
	"internal/jsonscan":       {nil, "JSON is walked by hand in this one place, which need not know what it says"},
	"cmd/apoxy-tunnel":        {[]string{"tunnel/command"}, "the small agent is for small machines: no Caddy, no API"},
	"apiserver/hostiletest":   {nil, "a stranger knows the paths and nothing of the insides"},
}

// outside lists modules that only some files may import, with the reason.
var outside = []struct {
	prefix string
	may    func(room, file string) bool
	why    string
}{
	{
		"github.com/caddyserver/",
		func(room, file string) bool {
			return room == "cmd/caddy" || room == "caddyapoxy" || room == "certstorage" ||
				room == "issuance" || room == "issuance/acme" || room == "issuance/certfiles" || room == "internal/certtest" || room == "target" && (file == "gateway.go" || file == "proxy.go" || file == "tunnel.go" || file == "edgefunction.go" || file == "backends.go" || file == "dialguard.go")
		},
		"rooms are tested and understood without Caddy; only the wiring and the adapters of issuance and target know it",
	},
	{
		"github.com/miekg/dns",
		func(room, _ string) bool {
			return room == "dnsprovider" || room == "internal/dnstest" || room == "doctor" || room == "resolver"
		},
		"DNS messages stay where DNS is spoken",
	},
	{
		"go.etcd.io/etcd/",
		func(room, _ string) bool { return room == "store/etcdstore" },
		"one engine, one room",
	},
	{
		"go.etcd.io/bbolt",
		func(room, _ string) bool { return room == "store/boltstore" || room == "store/mirror" },
		"one engine, one room; the copy of another engine is a file of the same kind",
	},
	{
		"k8s.io/client-go/kubernetes",
		func(string, string) bool { return false },
		"plug-in users inherit our dependencies; the API is served and called without typed clients",
	},
	{
		"k8s.io/apiserver",
		func(string, string) bool { return false },
		"it adds 38 MB and its own storage model; own handlers over apimachinery do",
	},
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		room, file := filepath.ToSlash(filepath.Dir(f)), filepath.Base(f)
		for _, imp := range importsOf(t, f) {
			for _, rule := range outside {
				if strings.HasPrefix(imp, rule.prefix) && !rule.may(room, file) {
					t.Errorf("%s imports %s: %s", f, imp, rule.why)
				}
			}
			of, ok := strings.CutPrefix(imp, module+"/")
			rule, known := allowed[room]
			if !ok || !known && strings.HasPrefix(room, "internal/") {
				continue
			}
			switch {
			case !known:
				t.Errorf("%s: room %s has no rule: say in this test what it may import and why", f, room)
			case !slices.Contains(rule.rooms, of):
				t.Errorf("%s imports %s: %s", f, of, rule.why)
			case slices.Index(rooms, of) < slices.Index(rooms, room):
				t.Errorf("%s imports %s, which stands above it", f, of)
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string]int{}
	for _, f := range goFiles(t) {
		dir := filepath.ToSlash(filepath.Dir(f))
		if _, ok := comments[dir]; !ok {
			comments[dir] = 0
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil {
			comments[dir]++
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want exactly one", dir, n)
		}
	}
}

// goFiles returns the Go files of the main module, relative to its root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (rel == "e2e" || rel == "bench" || rel != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || rel == "examples") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d Go files below %s", len(files), root)
	}
	return files
}

func importsOf(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range parsed.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

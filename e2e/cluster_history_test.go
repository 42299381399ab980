package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// unsaid is what an answer of 503 says of a write that etcd may have done, without any
// member's answering in time. Without it the write never happened.
const unsaid = "whether this was written is not known"

// The operations on one record.
const (
	opGet = iota
	opCreate
	opUpdate // whatever stands there, or only at a revision
	opDelete
)

// histIn is an operation, and histOut what was answered.
type histIn struct {
	record, kind int
	value        string
	at           int64 // the revision that an update wants; 0: any
}

type histOut struct {
	unknown  bool // there was no answer: it may have happened, or happen yet
	status   int
	value    string
	revision int64
}

// register is a record as the history has it: absent, or a value at a revision or, since
// the controller writes its status, a later one.
type register struct {
	present  bool
	value    string
	revision int64
}

// step tells whether an operation may give an answer, and how the record stands then.
func (s register) step(in histIn, out histOut) (bool, register) {
	written := register{present: true, value: in.value, revision: max(out.revision, s.revision+1)}
	switch {
	case in.kind == opGet && out.status == http.StatusNotFound:
		return !s.present, s
	case in.kind == opGet:
		return s.present && s.value == out.value && out.revision >= s.revision, register{true, out.value, out.revision}
	case out.unknown: // that it never happens is that it happens after all others
		switch {
		case in.kind == opCreate && !s.present, in.kind == opUpdate && s.present && (in.at == 0 || in.at >= s.revision):
			return true, written
		case in.kind == opDelete:
			return true, register{revision: s.revision}
		}
		return true, s
	case in.kind == opCreate && out.status == http.StatusCreated:
		return !s.present && out.revision > s.revision, written
	case in.kind == opCreate: // it exists
		return s.present, s
	case out.status == http.StatusNotFound:
		return !s.present, s
	case in.kind == opDelete:
		return s.present, register{revision: s.revision}
	case out.status == http.StatusConflict: // the controller may have written
		return in.at != 0 && s.present, s
	}
	return s.present && out.revision > s.revision && (in.at == 0 || in.at >= s.revision), written
}

// registers is the model of independent records, each a register.
var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		for _, op := range all {
			r := op.Input.(histIn).record
			for len(parts) <= r {
				parts = append(parts, nil)
			}
			parts[r] = append(parts[r], op)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, in, out any) (bool, any) {
		ok, next := state.(register).step(in.(histIn), out.(histOut))
		return ok, next
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// historian works on records at one node after the other and notes what is answered.
type historian struct {
	id    int
	c     *cluster
	hosts []string
	began time.Time

	ops  []porcupine.Operation
	seen map[int]int64 // a revision of each record
}

// work goes on until the context ends.
func (h *historian) work(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		d := h.c.nodes[rand.IntN(len(h.c.nodes))]
		in := histIn{record: rand.IntN(len(h.hosts)), value: fmt.Sprintf("%d-%d", h.id, i)}
		if rand.IntN(10) == 0 {
			h.list(d)
			continue
		}
		switch n := rand.IntN(10); {
		case n < 4:
			in.kind = opGet
		case n < 6:
			in.kind = opCreate
		case n < 9:
			in.kind = opUpdate
			if rand.IntN(2) == 0 {
				in.at = h.seen[in.record]
			}
		default:
			in.kind = opDelete
		}
		h.do(d, in)
	}
}

// now is the time of the history.
func (h *historian) now() int64 { return time.Since(h.began).Nanoseconds() }

// note notes an operation. One without an answer lasts until the end of the history.
func (h *historian) note(in histIn, out histOut, call int64) {
	back := h.now()
	if out.unknown {
		back = int64(time.Hour)
	}
	if out.revision > 0 {
		h.seen[in.record] = out.revision
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: h.id, Input: in, Output: out, Call: call, Return: back})
}

// do does an operation at a node.
func (h *historian) do(d *node, in histIn) {
	host := h.hosts[in.record]
	path := recordsPath + "/" + host
	metadata := map[string]any{"name": host, "annotations": map[string]any{stepAnnotation: in.value}}
	if in.at != 0 {
		metadata["resourceVersion"] = strconv.FormatInt(in.at, 10)
	}
	var method string
	var body any
	switch in.kind {
	case opGet:
		method = http.MethodGet
	case opCreate:
		m := manifest(host, false)
		m["metadata"] = metadata
		method, path, body = http.MethodPost, recordsPath, m
	case opUpdate:
		delete(metadata, "name")
		method, body = http.MethodPatch, map[string]any{"metadata": metadata}
	case opDelete:
		method = http.MethodDelete
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var r watched
	call := h.now()
	status, header, err := d.call(ctx, method, path, body, &r)
	out := histOut{status: status}
	if err == nil && in.kind != opDelete {
		out.value = r.Metadata.Annotations[stepAnnotation]
		out.revision, _ = strconv.ParseInt(r.Metadata.ResourceVersion, 10, 64)
	}
	switch {
	case in.kind == opGet && (header.Get("Warning") != "" || status != http.StatusOK && status != http.StatusNotFound):
		return // from memory, or not read
	case status == 0, status == http.StatusServiceUnavailable && strings.Contains(err.Error(), unsaid), status == http.StatusGatewayTimeout, status == http.StatusInternalServerError:
		out.unknown = true
	case status == http.StatusServiceUnavailable:
		return
	}
	h.note(in, out, call)
}

// list reads all records at a node.
func (h *historian) list(d *node) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var list struct{ Items []watched }
	call := h.now()
	_, header, err := d.call(ctx, http.MethodGet, recordsPath, nil, &list)
	if err != nil || header.Get("Warning") != "" {
		return
	}
	there := map[string]watched{}
	for _, item := range list.Items {
		there[item.Metadata.Name] = item
	}
	for i, host := range h.hosts {
		out := histOut{status: http.StatusNotFound}
		if item, ok := there[host]; ok {
			revision, _ := strconv.ParseInt(item.Metadata.ResourceVersion, 10, 64)
			out = histOut{status: http.StatusOK, value: item.Metadata.Annotations[stepAnnotation], revision: revision}
		}
		h.note(histIn{record: i, kind: opGet}, out, call)
	}
}

// What the API answers at all nodes, while nodes and members of etcd are cut off and die,
// is a history in which each record is one register: whatever was acknowledged is seen by
// all who ask after that, wherever.
func TestClusterHistoryIsLinearizable(t *testing.T) {
	n := network(t)
	c := startCluster(t, n, settings{checkInterval: time.Hour})
	var hosts []string
	for i := range 5 {
		hosts = append(hosts, fmt.Sprintf("h%d.history.com", i))
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var all []*historian
	for i := range 10 {
		h := &historian{id: i, c: c, hosts: hosts, began: began, seen: map[int]int64{}}
		all = append(all, h)
		work.Go(func() { h.work(ctx) })
	}
	c.disturb(t, ctx, 1500*time.Millisecond)
	cancel()
	work.Wait()

	var ops []porcupine.Operation
	unknown := 0
	for _, h := range all {
		ops = append(ops, h.ops...)
		for _, op := range h.ops {
			if op.Output.(histOut).unknown {
				unknown++
			}
		}
	}
	result, info := porcupine.CheckOperationsVerbose(registers, ops, time.Minute)
	t.Logf("%d operations in %v, %d of them without an outcome: %s", len(ops), time.Since(began).Round(time.Second), unknown, result)
	if result != porcupine.Ok {
		name := testnet.Dir() + "/history.html"
		t.Errorf("the history is no register's: %s (shown in %s, with E2E_KEEP=1): %v", result, name, porcupine.VisualizePath(registers, info, name))
	}
}

// The model refuses what it is there to find.
func TestClusterHistoryModel(t *testing.T) {
	write := func(kind int, value string, revision, call, back int64) porcupine.Operation {
		return porcupine.Operation{Input: histIn{kind: kind, value: value}, Output: histOut{status: http.StatusCreated, value: value, revision: revision}, Call: call, Return: back}
	}
	read := func(value string, revision, call, back int64) porcupine.Operation {
		out := histOut{status: http.StatusOK, value: value, revision: revision}
		if value == "" {
			out.status = http.StatusNotFound
		}
		return porcupine.Operation{Input: histIn{kind: opGet}, Output: out, Call: call, Return: back}
	}
	lost := write(opUpdate, "b", 0, 3, int64(time.Hour))
	lost.Output = histOut{unknown: true}
	for name, tc := range map[string]struct {
		want bool
		ops  []porcupine.Operation
	}{
		"a read of what was written":             {true, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), read("a", 5, 3, 4)}},
		"a read at a later revision":             {true, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), read("a", 7, 3, 4)}},
		"a stale read":                           {false, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), write(opUpdate, "b", 6, 3, 4), read("a", 5, 5, 6)}},
		"a read before an acknowledged create":   {false, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), read("", 0, 3, 4)}},
		"an older revision":                      {false, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), read("a", 7, 3, 4), read("a", 6, 5, 6)}},
		"two creates":                            {false, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), write(opCreate, "b", 6, 3, 4)}},
		"a write without an outcome that is so":  {true, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), lost, read("b", 6, 5, 6)}},
		"a write without an outcome that is not": {true, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), lost, read("a", 5, 5, 6)}},
		"one that is undone":                     {false, []porcupine.Operation{write(opCreate, "a", 5, 1, 2), lost, read("b", 6, 5, 6), read("a", 7, 7, 8)}},
	} {
		if got := porcupine.CheckOperations(registers, tc.ops); got != tc.want {
			t.Errorf("%s: the model says %v", name, got)
		}
	}
}

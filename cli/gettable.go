package cli

import (
	"encoding/json"
	"fmt"

	"github.com/liggitt/tabwriter"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
)

// tableSink shows tables that the server has laid out.
type tableSink struct {
	w     *tabwriter.Writer
	p     printers.ResourcePrinter
	env   Env
	live  bool
	muted bool
	n     int
	seen  map[string]string
	// columns is what the last table that named its columns had: later ones of
	// a watch leave them out.
	columns []metav1.TableColumnDefinition
}

func (s *tableSink) accept() string  { return typeTable }
func (s *tableSink) single(bool)     {}
func (s *tableSink) streaming()      { s.live = true }
func (s *tableSink) mute(muted bool) { s.muted = muted }
func (s *tableSink) count() int      { return s.n }
func (s *tableSink) flush() error    { return s.w.Flush() }

func (s *tableSink) put(raw json.RawMessage) error {
	if kind := kindOf(raw); kind != "Table" {
		return fmt.Errorf("reading a table: the server answered with kind %s: is that Caddy's admin endpoint? --address names another", quote(kind))
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(raw, table); err != nil {
		return fmt.Errorf("reading a table: %w", err)
	}
	if len(table.ColumnDefinitions) > 0 {
		s.columns = table.ColumnDefinitions
	} else {
		table.ColumnDefinitions = s.columns
	}
	rows := table.Rows[:0]
	for _, row := range table.Rows {
		var m metav1.PartialObjectMetadata
		if len(row.Object.Raw) > 0 {
			if err := json.Unmarshal(row.Object.Raw, &m); err != nil {
				return fmt.Errorf("reading a table's row: %w", err)
			}
		}
		row.Object = runtime.RawExtension{Object: &m}
		if s.live && !isNews(s.seen, m.Name, m.ResourceVersion) {
			continue
		}
		rows = append(rows, row)
	}
	table.Rows = rows
	s.n += len(rows)
	if s.muted || len(rows) == 0 {
		return nil
	}
	if err := s.p.PrintObj(table, s.w); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

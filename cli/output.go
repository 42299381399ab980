package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// output is the flags that say how records are printed.
type output struct {
	format       string
	noHeaders    bool
	showLabels   bool
	labelColumns []string
	managed      bool
	tables       bool // the command prints them
}

// formats names what -o takes.
func (o *output) formats() string {
	const all = "yaml, json, name, jsonpath=, jsonpath-file=, go-template=, go-template-file=, custom-columns=, custom-columns-file="
	if o.tables {
		return "wide, " + all
	}
	return all
}

func (o *output) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "output format, one of: "+o.formats())
	cmd.Flags().BoolVar(&o.managed, "show-managed-fields", false, "keep metadata.managedFields in yaml and json")
	offered := []cobra.Completion{"yaml", "json", "name", "jsonpath=", "go-template=", "custom-columns="}
	if o.tables {
		offered = append(offered, "wide")
	}
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(offered,
		cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
}

// addTableFlags is addFlags for a command that prints tables.
func (o *output) addTableFlags(cmd *cobra.Command) {
	o.tables = true
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave a table's header out")
	cmd.Flags().BoolVar(&o.showLabels, "show-labels", false, "add a column with all labels")
	cmd.Flags().StringSliceVarP(&o.labelColumns, "label-columns", "L", nil, "labels to add a column for")
}

// table reports whether a table is asked for.
func (o *output) table() bool { return o.format == "" || o.format == "wide" }

// tablePrinter prints tables from the server.
func (o *output) tablePrinter() printers.ResourcePrinter {
	return printers.NewTablePrinter(printers.PrintOptions{
		Wide: o.format == "wide", NoHeaders: o.noHeaders,
		ShowLabels: o.showLabels, ColumnLabels: o.labelColumns,
	})
}

// printer prints objects in every format but tables.
func (o *output) printer() (printers.ResourcePrinter, error) {
	kind, arg, given := strings.Cut(o.format, "=")
	if file, ok := strings.CutSuffix(kind, "-file"); ok {
		if !given || arg == "" {
			return nil, usagef("-o %s takes a file: %s=FILE", kind, kind)
		}
		raw, err := os.ReadFile(arg)
		if err != nil {
			return nil, fmt.Errorf("reading the template of -o: %w", err)
		}
		kind, arg, given = file, string(raw), true
	}
	var (
		p   printers.ResourcePrinter
		err error
	)
	switch kind {
	case "json":
		p = &printers.JSONPrinter{}
	case "yaml":
		p = &printers.YAMLPrinter{}
	case "name":
		p = &printers.NamePrinter{}
	case "jsonpath":
		var j *printers.JSONPathPrinter
		if j, err = printers.NewJSONPathPrinter(arg); err == nil {
			j.AllowMissingKeys(true)
			p = j
		}
	case "go-template":
		var t *printers.GoTemplatePrinter
		if t, err = printers.NewGoTemplatePrinter([]byte(arg)); err == nil {
			t.AllowMissingKeys(true)
			p = t
		}
	case "custom-columns":
		p, err = newColumnsPrinter(arg, o.noHeaders)
	case "wide":
		return nil, usagef("-o wide is for tables, as get prints them: leave -o out, or give one of %s", o.formats())
	default:
		return nil, usagef("-o %s is no output format: give one of %s", quote(o.format), o.formats())
	}
	if err != nil {
		return nil, usagef("-o %s: %v", kind, err)
	}
	if takes := kind != "json" && kind != "yaml" && kind != "name"; takes != given || takes && strings.TrimSpace(arg) == "" {
		if takes {
			return nil, usagef("-o %s takes a template: %s=…", kind, kind)
		}
		return nil, usagef("-o %s takes no template", kind)
	}
	if o.managed {
		return p, nil
	}
	return &printers.OmitManagedFieldsPrinter{Delegate: p}, nil
}

// told is how a record is named in what was done to it.
func told(name string) string {
	return v1alpha3.Singular + "." + v1alpha3.Group + "/" + name
}

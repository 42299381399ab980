package main

import (
	"strings"
	"testing"
)

func TestArgumentsOfApoxy(t *testing.T) {
	for _, c := range []struct{ is, args, want string }{
		{"none", "", "apoxy"},
		{"a command", "domainrecord get -w", "apoxy domainrecord get -w"},
		{"the version", "version", "apoxy version"},
		{"the version, as a flag", "--version", "apoxy version"},
		{"a completion script", "completion bash", "apoxy completion bash"},
		{"what a script asks", "__complete domainrecord g", "__complete apoxy domainrecord g"},
		{"what a script asks without descriptions", "__completeNoDesc dr", "__completeNoDesc apoxy dr"},
		{"help", "help domainrecord get", "apoxy domainrecord get --help"},
		{"a record that is called version", "domainrecord get version", "apoxy domainrecord get version"},
	} {
		if got := strings.Join(arguments(strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.is, got, c.want)
		}
	}
}

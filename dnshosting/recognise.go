package dnshosting

import (
	"path"
	"slices"
	"strings"
)

// Bounds of what is looked at: a zone with more name servers, or one with a longer name
// (RFC 1035 section 2.3.4), is nobody's that we know.
const (
	maxNameServers = 32
	maxName        = 255
)

// entry is one provider of the table and how its name servers are called.
type entry struct {
	Provider
	// servers are patterns of host names. A pattern has as many labels as the name;
	// each label is matched by path.Match: "*" stands for any octets of that label.
	servers []string
	// beside are patterns of another's servers that this provider uses beside its own.
	beside []string
}

// table is every provider that is known.
var table = slices.Concat(clouds, registrars, europe)

// bySuffix finds the entries whose servers end with two given labels, so that a name is
// compared with few patterns; rest are those whose last two labels are patterns.
var bySuffix, rest = index(table)

func index(entries []entry) (map[string][]int, []int) {
	suffixes, others := map[string][]int{}, []int(nil)
	add := func(list []int, i int) []int {
		if len(list) > 0 && list[len(list)-1] == i {
			return list
		}
		return append(list, i)
	}
	for i, e := range entries {
		for _, pattern := range e.servers {
			if last := lastTwo(pattern); strings.Contains(last, "*") {
				others = add(others, i)
			} else {
				suffixes[last] = add(suffixes[last], i)
			}
		}
	}
	return suffixes, others
}

// Recognise returns the provider whose name servers these are, the names in any case,
// with or without the final dot, in any order. All must be of one provider: a zone that
// two serve, or an unknown one, has none.
func Recognise(nameServers []string) (Provider, bool) {
	if len(nameServers) == 0 || len(nameServers) > maxNameServers {
		return Provider{}, false
	}
	names := make([]string, 0, len(nameServers))
	for _, server := range nameServers {
		name := strings.ToLower(withoutDot(server))
		if name == "" || len(name) > maxName {
			return Provider{}, false
		}
		names = append(names, name)
	}
	for _, name := range names {
		for _, i := range candidates(name) {
			if table[i].hosts(names) {
				return table[i].provider(), true
			}
		}
	}
	return Provider{}, false
}

// ByName returns the provider of that name, as Provider.Name has it.
func ByName(name string) (Provider, bool) {
	for i := range table {
		if table[i].Name == name {
			return table[i].provider(), true
		}
	}
	return Provider{}, false
}

func (e entry) provider() Provider {
	p := e.Provider
	p.Form = p.withGeneric()
	return p
}

// candidates are the entries that may have a server of this name.
func candidates(name string) []int {
	if found, ok := bySuffix[lastTwo(name)]; ok {
		return found
	}
	return rest
}

// hosts tells whether all of the names are the entry's, or of those beside, and one at
// least its own.
func (e entry) hosts(names []string) bool {
	own := false
	for _, name := range names {
		switch {
		case matchesAny(e.servers, name):
			own = true
		case !matchesAny(e.beside, name):
			return false
		}
	}
	return own
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if matches(pattern, name) {
			return true
		}
	}
	return false
}

// matches compares label by label from the right, where names of different providers
// differ first.
func matches(pattern, name string) bool {
	for {
		p, n := strings.LastIndexByte(pattern, '.'), strings.LastIndexByte(name, '.')
		if ok, err := path.Match(pattern[p+1:], name[n+1:]); err != nil || !ok {
			return false
		}
		if p < 0 || n < 0 {
			return p < 0 && n < 0
		}
		pattern, name = pattern[:p], name[:n]
	}
}

// lastTwo returns the last two labels of a name, or all if it has fewer.
func lastTwo(name string) string {
	last := strings.LastIndexByte(name, '.')
	if last < 0 {
		return name
	}
	return name[strings.LastIndexByte(name[:last], '.')+1:]
}

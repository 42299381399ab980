package dnshosting

// Provider is one that hosts customers' DNS zones.
type Provider struct {
	// Name is what the provider calls itself.
	Name string
	// ControlPanel is the https URL where a customer logs in to change records; empty:
	// not known for certain.
	ControlPanel string
	Form
}

// Form is the provider's form for a new record, in the words of its English pages.
type Form struct {
	// HostLabel is the label of the field for the record's name.
	HostLabel string
	// ValueLabel is the label of the field for a CNAME's value.
	ValueLabel string
	// TTLLabel is the label of the field for the TTL.
	TTLLabel string
	// AddButton is what one presses for a new record.
	AddButton string
	// WholeName: the field for the name wants the whole name, not the one relative to
	// the zone.
	WholeName bool
	// FinalDot: the value is to end with a dot; without it the provider takes it as a
	// name relative to the zone, or may. Where false, it is to be entered without.
	FinalDot bool
	// Top is what the field for the name wants for the zone itself; empty: it stays
	// empty.
	Top string
	// ProxyOff is what is to be chosen so that the provider answers with the record
	// as it is and does not put its own proxy before it; empty: it has no proxy.
	ProxyOff string
	// ApexAlias is what the provider calls a CNAME's like at the zone's top (ALIAS,
	// ANAME, flattening); empty: it has none for foreign names, or it is not known.
	ApexAlias string
}

// Proxies tells whether the provider can put its own proxy before a record.
func (f Form) Proxies() bool { return f.ProxyOff != "" }

// Host returns what to enter for a record's name: host is the name relative to its zone,
// "@" at the zone's top, and name the whole one.
func (f Form) Host(host, name string) string {
	switch {
	case f.WholeName:
		return withoutDot(name)
	case host == "@":
		return f.Top
	default:
		return host
	}
}

// Value returns what to enter for a CNAME's value, given as an absolute name.
func (f Form) Value(value string) string {
	if f.FinalDot {
		return withoutDot(value) + "."
	}
	return withoutDot(value)
}

// Generic is the form of a provider that is not known, in the words that most use.
func Generic() Form {
	return Form{HostLabel: "Name", ValueLabel: "Value", TTLLabel: "TTL", AddButton: "Add record", Top: "@"}
}

// withGeneric returns f with generic words where it has none.
func (f Form) withGeneric() Form {
	g := Generic()
	fill := func(word *string, generic string) {
		if *word == "" {
			*word = generic
		}
	}
	fill(&f.HostLabel, g.HostLabel)
	fill(&f.ValueLabel, g.ValueLabel)
	fill(&f.TTLLabel, g.TTLLabel)
	fill(&f.AddButton, g.AddButton)
	switch f.Top {
	case "":
		f.Top = g.Top
	case topEmpty:
		f.Top = ""
	}
	return f
}

// topEmpty in the table's field Top stands for a field that stays empty.
const topEmpty = "-"

func withoutDot(name string) string {
	if n := len(name); n > 0 && name[n-1] == '.' {
		return name[:n-1]
	}
	return name
}

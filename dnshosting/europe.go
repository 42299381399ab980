package dnshosting

// europe are those from whom customers in Europe have their domain and website. The
// sources are the providers' own public documents, whose titles are named. The forms of
// some have no English words.
var europe = []entry{
	{ // IONOS Help: "Configuring a CNAME record for a subdomain".
		Provider: Provider{"IONOS", "https://my.ionos.com/domains", Form{HostLabel: "Host name", ValueLabel: "Points to"}},
		servers:  []string{"ns*.ui-dns.com", "ns*.ui-dns.de", "ns*.ui-dns.org", "ns*.ui-dns.biz"},
	},
	{ // OVHcloud Docs: "Edit an OVHcloud DNS zone"; a value without the final dot is
		// relative in the zone's text.
		Provider: Provider{"OVHcloud", "https://www.ovh.com/manager/", Form{HostLabel: "Sub-domain", ValueLabel: "Target", AddButton: "Add an entry", FinalDot: true, Top: topEmpty}},
		servers:  []string{"dns*.ovh.net", "ns*.ovh.net", "dns*.ovh.ca", "ns*.ovh.ca", "dns*.anycast.me", "ns*.anycast.me"},
	},
	{ // Gandi Docs: "CNAME record", "ALIAS record"; a value without the final dot is
		// relative.
		Provider: Provider{"Gandi", "https://admin.gandi.net/", Form{ValueLabel: "Hostname", FinalDot: true, ApexAlias: "ALIAS"}},
		servers:  []string{"ns-*.gandi.net"},
	},
	{ // Hetzner Docs: "Authoritative name servers", "Managing zone records"; a value
		// without the final dot is relative.
		Provider: Provider{"Hetzner", "https://console.hetzner.com/", Form{FinalDot: true}},
		servers:  []string{"*.ns.hetzner.com", "*.ns.hetzner.de"},
	},
	{ // STRATO FAQ: "DNS-Verwaltung".
		Provider: Provider{Name: "STRATO", ControlPanel: "https://www.strato.de/apps/CustomerService"},
		servers:  []string{"docks*.rzone.de", "shades*.rzone.de"},
	},
	{ // united-domains Help-Center: "Nameserver von united-domains".
		Provider: Provider{Name: "united-domains", ControlPanel: "https://www.united-domains.de/login"},
		servers:  []string{"ns.udag.de", "ns.udag.net", "ns.udag.org"},
	},
	{ // INWX: "Nameservers", "Record types" (ALIAS).
		Provider: Provider{Name: "INWX", ControlPanel: "https://www.inwx.de/en", Form: Form{ApexAlias: "ALIAS"}},
		servers:  []string{"ns*.inwx.de", "ns*.inwx.eu", "ns*.inwx.com", "ns*.inwx.net"},
	},
	{ // netcup Wiki: "Nameserver".
		Provider: Provider{Name: "netcup", ControlPanel: "https://www.customercontrolpanel.de/"},
		servers:  []string{"root-dns.netcup.net", "second-dns.netcup.net", "third-dns.netcup.net"},
	},
	{ // ALL-INKL.COM: "Nameserver".
		Provider: Provider{Name: "ALL-INKL.COM", ControlPanel: "https://kas.all-inkl.com/"},
		servers:  []string{"ns5.kasserver.com", "ns6.kasserver.com"},
	},
	{ // TransIP Knowledge Base: "What are DNS and name servers", "CNAME records"; a value
		// without the final dot is relative.
		Provider: Provider{Name: "TransIP", ControlPanel: "https://www.transip.eu/cp/", Form: Form{FinalDot: true}},
		servers:  []string{"ns0.transip.net", "ns1.transip.nl", "ns2.transip.eu"},
	},
	{ // one.com Support: "one.com name servers".
		Provider: Provider{Name: "one.com", ControlPanel: "https://www.one.com/admin/"},
		servers:  []string{"ns01.one.com", "ns02.one.com"},
	},
	{ // Infomaniak Knowledge base: "DNS servers of Infomaniak".
		Provider: Provider{Name: "Infomaniak", ControlPanel: "https://manager.infomaniak.com/"},
		servers:  []string{"ns*.infomaniak.ch", "ns*.infomaniak.com"},
	},
	{ // Loopia Support: "Name servers".
		Provider: Provider{Name: "Loopia", ControlPanel: "https://customerzone.loopia.com/"},
		servers:  []string{"ns1.loopia.se", "ns2.loopia.se"},
	},
	{ // Simply.com Support: "Name servers".
		Provider: Provider{Name: "Simply.com", ControlPanel: "https://www.simply.com/en/controlpanel/"},
		servers:  []string{"ns1.simply.com", "ns2.simply.com", "ns3.simply.com", "ns4.simply.com"},
	},
	{ // Scaleway Docs: "Domains and DNS", "Manage DNS records" (ALIAS).
		Provider: Provider{Name: "Scaleway", ControlPanel: "https://console.scaleway.com/domains/", Form: Form{ApexAlias: "ALIAS"}},
		servers:  []string{"ns0.dom.scw.cloud", "ns1.dom.scw.cloud"},
	},
	{ // deSEC Docs: "Getting started, name servers".
		Provider: Provider{Name: "deSEC", ControlPanel: "https://desec.io/domains"},
		servers:  []string{"ns1.desec.io", "ns2.desec.org"},
	},
}

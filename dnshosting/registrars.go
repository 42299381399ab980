package dnshosting

// registrars are those from whom customers have their domain and website, outside
// Europe. The sources are the providers' own public documents, whose titles are named.
var registrars = []entry{
	{ // GoDaddy Help: "Add a CNAME record".
		Provider: Provider{"GoDaddy", "https://dcc.godaddy.com/", Form{AddButton: "Add New Record"}},
		servers:  []string{"ns*.domaincontrol.com", "pdns*.domaincontrol.com"},
	},
	{ // Namecheap Knowledgebase: "How to create a CNAME record for your domain", "What
		// is an ALIAS record".
		Provider: Provider{"Namecheap", "https://ap.www.namecheap.com/", Form{HostLabel: "Host", AddButton: "Add New Record", ApexAlias: "ALIAS"}},
		servers:  []string{"dns*.registrar-servers.com", "pdns*.registrar-servers.com", "freedns*.registrar-servers.com"},
	},
	{ // Squarespace Help: "Advanced DNS settings". It has NS1 serve its zones too.
		Provider: Provider{"Squarespace", "https://account.squarespace.com/domains", Form{HostLabel: "Host", ValueLabel: "Data"}},
		servers:  []string{"ns*.squarespacedns.com", "connect*.squarespacedns.com"},
		beside:   []string{"dns*.p*.nsone.net"},
	},
	{ // Wix Help Center: "Adding or Updating CNAME Records in Your Wix Account".
		Provider: Provider{"Wix", "https://manage.wix.com/account/domains", Form{HostLabel: "Host Name", AddButton: "Add Record", Top: topEmpty}},
		servers:  []string{"ns*.wixdns.net"},
	},
	{ // Name.com Support: "Adding a CNAME record", "Adding an ANAME record".
		Provider: Provider{"Name.com", "https://www.name.com/account/domain", Form{HostLabel: "Host", ValueLabel: "Answer", AddButton: "Add Record", Top: topEmpty, ApexAlias: "ANAME"}},
		servers:  []string{"ns1*.name.com", "ns2*.name.com", "ns3*.name.com", "ns4*.name.com"},
	},
	{ // Porkbun Knowledge Base: "How to edit DNS records", "ALIAS records".
		Provider: Provider{"Porkbun", "https://porkbun.com/account/domainsSpeedy", Form{HostLabel: "Host", ValueLabel: "Answer", AddButton: "Add", Top: topEmpty, ApexAlias: "ALIAS"}},
		servers:  []string{"*.ns.porkbun.com", "*.porkbun.com"},
	},
	{ // Bluehost Help: "DNS Management, Add a CNAME record".
		Provider: Provider{Name: "Bluehost", ControlPanel: "https://www.bluehost.com/my-account/login"},
		servers:  []string{"ns1.bluehost.com", "ns2.bluehost.com"},
	},
	{ // HostGator Support: "HostGator name servers".
		Provider: Provider{Name: "HostGator", ControlPanel: "https://portal.hostgator.com/"},
		servers:  []string{"ns*.hostgator.com"},
	},
	{ // Hostinger Help Center: "How to manage DNS records at Hostinger".
		Provider: Provider{"Hostinger", "https://hpanel.hostinger.com/", Form{ValueLabel: "Target", AddButton: "Add Record", ApexAlias: "ALIAS"}},
		servers:  []string{"ns*.dns-parking.com"},
	},
	{ // DreamHost Knowledge Base: "How do I add custom DNS records?".
		Provider: Provider{"DreamHost", "https://panel.dreamhost.com/", Form{HostLabel: "Host", ValueLabel: "Points to", AddButton: "Add Record"}},
		servers:  []string{"ns1.dreamhost.com", "ns2.dreamhost.com", "ns3.dreamhost.com"},
	},
	{ // Network Solutions: "How to manage advanced DNS records".
		Provider: Provider{Name: "Network Solutions", ControlPanel: "https://www.networksolutions.com/my-account/login"},
		servers:  []string{"ns*.worldnic.com"},
	},
	{ // Hover Help: "Managing DNS records".
		Provider: Provider{"Hover", "https://www.hover.com/control_panel", Form{HostLabel: "Hostname", AddButton: "Add a record"}},
		servers:  []string{"ns1.hover.com", "ns2.hover.com"},
	},
	{ // Dynadot Help: "Dynadot name servers".
		Provider: Provider{Name: "Dynadot", ControlPanel: "https://www.dynadot.com/account/"},
		servers:  []string{"ns1.dyna-ns.net", "ns2.dyna-ns.net"},
	},
	{ // WordPress.com Support: "Name servers", "Manage DNS records".
		Provider: Provider{Name: "WordPress.com", ControlPanel: "https://wordpress.com/domains/manage"},
		servers:  []string{"ns1.wordpress.com", "ns2.wordpress.com", "ns3.wordpress.com"},
	},
	{ // SiteGround Knowledge Base: "SiteGround name servers".
		Provider: Provider{Name: "SiteGround", ControlPanel: "https://my.siteground.com/"},
		servers:  []string{"ns1.siteground.net", "ns2.siteground.net"},
	},
}

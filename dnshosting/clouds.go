package dnshosting

// clouds are those who host DNS as a service or beside hosting of other kinds. The
// sources are the providers' own public documents, whose titles are named.
var clouds = []entry{
	{ // Cloudflare Docs: "Manage DNS records", "Proxy status", "CNAME flattening".
		Provider: Provider{"Cloudflare", "https://dash.cloudflare.com/", Form{ValueLabel: "Target", ProxyOff: "DNS only", ApexAlias: "CNAME flattening"}},
		servers:  []string{"*.ns.cloudflare.com"},
	},
	{ // Route 53 Developer Guide: "Values specific for simple records". Its alias
		// records lead to AWS resources alone.
		Provider: Provider{"AWS Route 53", "https://console.aws.amazon.com/route53/v2/hostedzones", Form{HostLabel: "Record name", TTLLabel: "TTL (seconds)", AddButton: "Create record", Top: topEmpty}},
		servers:  []string{"ns-*.awsdns-*.com", "ns-*.awsdns-*.net", "ns-*.awsdns-*.org", "ns-*.awsdns-*.co.uk"},
	},
	{ // Squarespace took over Google Domains in 2023 with its name servers, which are
		// those of Cloud DNS: the names do not tell whose customer it is. Google Cloud
		// DNS: "Add, update, and delete records"; Squarespace: "Domain transfer from
		// Google Domains FAQ".
		Provider: Provider{Name: "Google Cloud DNS or Squarespace"},
		servers:  []string{"ns-cloud-*.googledomains.com"},
	},
	{ // Microsoft Learn: "Create DNS records in a custom domain for a web app". Its alias
		// record sets lead to Azure resources alone.
		Provider: Provider{"Azure DNS", "https://portal.azure.com/", Form{ValueLabel: "Alias"}},
		servers:  []string{"ns*.azure-dns.com", "ns*.azure-dns.net", "ns*.azure-dns.org", "ns*.azure-dns.info"},
	},
	{ // DigitalOcean Docs: "How to Create, Edit, and Delete DNS Records"; a value
		// without the final dot is relative in its API.
		Provider: Provider{"DigitalOcean", "https://cloud.digitalocean.com/networking/domains", Form{HostLabel: "Hostname", ValueLabel: "Is an alias of", TTLLabel: "TTL (Seconds)", AddButton: "Create Record", FinalDot: true}},
		servers:  []string{"ns*.digitalocean.com"},
	},
	{ // Akamai TechDocs: "Edge DNS, Add a record".
		Provider: Provider{Name: "Akamai Edge DNS", ControlPanel: "https://control.akamai.com/"},
		servers:  []string{"a*.akam.net"},
	},
	{ // Akamai TechDocs: "Cloud Manager, DNS Manager, CNAME records".
		Provider: Provider{"Linode", "https://cloud.linode.com/domains", Form{HostLabel: "Hostname", ValueLabel: "Alias to", AddButton: "Add a CNAME Record", Top: topEmpty}},
		servers:  []string{"ns*.linode.com"},
	},
	{ // Vultr Docs: "Introduction to Vultr DNS".
		Provider: Provider{"Vultr", "https://my.vultr.com/dns/", Form{ValueLabel: "Data", Top: topEmpty}},
		servers:  []string{"ns1.vultr.com", "ns2.vultr.com"},
	},
	{ // Oracle Cloud Infrastructure: "DNS, Supported Resource Records".
		Provider: Provider{Name: "Oracle Cloud DNS", ControlPanel: "https://cloud.oracle.com/", Form: Form{ApexAlias: "ALIAS"}},
		servers:  []string{"ns*.*.dns.oraclecloud.net"},
	},
	{ // Vercel Docs: "Managing DNS Records".
		Provider: Provider{"Vercel", "https://vercel.com/dashboard/domains", Form{AddButton: "Add", ApexAlias: "ALIAS"}},
		servers:  []string{"ns*.vercel-dns.com"},
	},
	{ // NS1 hosts Netlify's zones under its own servers' names (Netlify Docs: "Set up
		// Netlify DNS"): the names do not tell whose customer it is. Both have an apex
		// alias; they call it differently.
		Provider: Provider{Name: "NS1 or Netlify"},
		servers:  []string{"dns*.p*.nsone.net"},
	},
	{ // DNSimple Support: "ALIAS record".
		Provider: Provider{Name: "DNSimple", ControlPanel: "https://dnsimple.com/dashboard", Form: Form{Top: topEmpty, ApexAlias: "ALIAS"}},
		servers:  []string{"ns*.dnsimple.com", "ns*.dnsimple-edge.net", "ns*.dnsimple-edge.org", "ns*.dnsimple-edge.com"},
	},
	{ // DNS Made Easy Help: "CNAME record", "ANAME records"; a value without the final
		// dot is relative.
		Provider: Provider{"DNS Made Easy", "https://cp.dnsmadeeasy.com/", Form{ValueLabel: "Alias to", FinalDot: true, Top: topEmpty, ApexAlias: "ANAME"}},
		servers:  []string{"ns*.dnsmadeeasy.com"},
	},
	{ // Constellix Docs: "ANAME records".
		Provider: Provider{Name: "Constellix", ControlPanel: "https://manage.constellix.com/", Form: Form{ApexAlias: "ANAME"}},
		servers:  []string{"ns*.constellix.com", "ns*.constellix.net"},
	},
	{ // ClouDNS Wiki: "CNAME record", "ALIAS record".
		Provider: Provider{"ClouDNS", "https://www.cloudns.net/main/", Form{HostLabel: "Host", ValueLabel: "Points to", AddButton: "Add new record", Top: topEmpty, ApexAlias: "ALIAS"}},
		servers:  []string{"*.cloudns.net"},
	},
	{ // easyDNS Knowledge Base: "ANAME records".
		Provider: Provider{Name: "easyDNS", ControlPanel: "https://cp.easydns.com/", Form: Form{ApexAlias: "ANAME"}},
		servers:  []string{"dns*.easydns.com", "dns*.easydns.net", "dns*.easydns.org", "dns*.easydns.info", "dns*.easydns.ca"},
	},
	{ // UltraDNS user guide: "APEXALIAS".
		Provider: Provider{Name: "UltraDNS", ControlPanel: "https://portal.ultradns.com/", Form: Form{ApexAlias: "APEXALIAS"}},
		servers:  []string{"pdns*.ultradns.com", "pdns*.ultradns.net", "pdns*.ultradns.org", "pdns*.ultradns.info", "pdns*.ultradns.biz", "pdns*.ultradns.co.uk"},
	},
	{ // Hurricane Electric Free DNS: the form of its records.
		Provider: Provider{Name: "Hurricane Electric", ControlPanel: "https://dns.he.net/", Form: Form{ApexAlias: "ALIAS"}},
		servers:  []string{"ns*.he.net"},
	},
	{ // bunny.net Docs: "Bunny DNS".
		Provider: Provider{Name: "bunny.net", ControlPanel: "https://dash.bunny.net/dns"},
		servers:  []string{"kiki.bunny.net", "coco.bunny.net"},
	},
	{ // Fastmail Help: "Setting up your domain: NS".
		Provider: Provider{Name: "Fastmail", ControlPanel: "https://app.fastmail.com/settings/domains"},
		servers:  []string{"ns1.messagingengine.com", "ns2.messagingengine.com"},
	},
	{ // Alibaba Cloud DNS: "Add a DNS record".
		Provider: Provider{Name: "Alibaba Cloud DNS", ControlPanel: "https://dns.console.aliyun.com/", Form: Form{ValueLabel: "Record Value"}},
		servers:  []string{"*.alidns.com", "dns*.hichina.com"},
	},
	{ // DNSPod: "Name servers of the packages".
		Provider: Provider{Name: "DNSPod", ControlPanel: "https://console.dnspod.cn/"},
		servers:  []string{"*.dnspod.net"},
	},
}

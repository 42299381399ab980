package dnshosting

import "testing"

// BenchmarkRecognise is what each look spends on it.
func BenchmarkRecognise(b *testing.B) {
	route53 := []string{"ns-1.awsdns-00.com.", "ns-512.awsdns-01.net.", "ns-1024.awsdns-02.org.", "ns-1536.awsdns-03.co.uk."}
	unknown := []string{"ns1.customer.example.", "ns2.customer.example."}
	for range b.N {
		if _, ok := Recognise(route53); !ok {
			b.Fatal("not known")
		}
		if _, ok := Recognise(unknown); ok {
			b.Fatal("known")
		}
	}
}

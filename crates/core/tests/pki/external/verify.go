// Puts the cases in cases.tsv (leaf, certificates sent along, anchor, name, usage) to crypto/x509 and prints one line
// for each: "ok" or the reason. Then looks at keys, the root certificate and the manifest signature.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"
)

func read(name string) []byte {
	data, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return data
}

func certificate(name string) *x509.Certificate {
	block, _ := pem.Decode(read(name + ".pem"))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return parsed
}

func pool(names ...string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range names {
		if name != "" {
			pool.AddCert(certificate(name))
		}
	}
	return pool
}

func verify(fields []string) error {
	usage := map[string]x509.ExtKeyUsage{"Server": x509.ExtKeyUsageServerAuth, "Client": x509.ExtKeyUsageClientAuth}
	_, err := certificate(fields[0]).Verify(x509.VerifyOptions{
		Intermediates: pool(strings.Split(fields[1], ",")...),
		Roots:         pool(fields[2]),
		DNSName:       fields[3],
		KeyUsages:     []x509.ExtKeyUsage{usage[fields[4]]},
		CurrentTime:   time.Now(),
	})
	return err
}

func main() {
	cases, err := os.Open("cases.tsv")
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(cases); lines.Scan(); {
		if err := verify(strings.Split(lines.Text(), "\t")); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
	for _, leaf := range os.Args[1:] {
		if _, err := tls.X509KeyPair(read(leaf+".pem"), read(leaf+".key")); err != nil {
			panic(leaf + " key: " + err.Error())
		}
	}
	root := certificate("root")
	if root.NotAfter.Format(time.RFC3339) != "9999-12-31T23:59:59Z" {
		panic("NotAfter: " + root.NotAfter.String())
	}
	hash := sha256.Sum256(read("message"))
	if !ecdsa.VerifyASN1(root.PublicKey.(*ecdsa.PublicKey), hash[:], read("signature")) {
		panic("manifest signature")
	}
	fmt.Println("verified with Go")
}

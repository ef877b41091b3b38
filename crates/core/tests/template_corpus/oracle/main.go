// Oracle: renders the corpus with Go's own text/template and writes down what it gives.
//
// Usage, from this directory: go run . ../data.json ../templates.json ../expected.json
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"
)

// PrivateKey is the private part of a secret.
type PrivateKey []byte

// PublicKey is the public part of a secret.
type PublicKey []byte

// Certificate is the certificate part of a secret; its bytes are no field a template could reach.
type Certificate struct{ der []byte }

// Secret imitates what a template sees of a secret.
type Secret struct {
	Type        string
	Size        uint
	Shared      bool
	UserDefined bool
	Cert        Certificate
	ValidFor    uint
	Private     PrivateKey
	Public      PublicKey
}

// Reserved imitates the values of the Coordinator itself.
type Reserved struct {
	RootCA, MarbleCert, CoordinatorRoot, CoordinatorIntermediate, SealKey Secret
}

// Previous imitates the values before the last rotation.
type Previous struct{ Secrets map[string]Secret }

// Root is the data of a template.
type Root struct {
	MarbleRun Reserved
	Marblerun Reserved
	Previous  Previous
	Secrets   map[string]Secret
}

// bytesOf gives what hex, base64 and raw encode: a part, or the default part of a whole secret.
func bytesOf(value any) ([]byte, error) {
	var result []byte
	switch value := value.(type) {
	case Secret:
		result = value.Public
	case PrivateKey:
		result = value
	case PublicKey:
		result = value
	case Certificate:
		result = value.der
	case nil:
		return nil, errors.New("secret does not exist")
	default:
		return nil, fmt.Errorf("%T is not a secret", value)
	}
	if len(result) == 0 {
		return nil, errors.New("secret is empty")
	}
	return result, nil
}

func encodeHex(value any) (string, error) {
	content, err := bytesOf(value)
	return hex.EncodeToString(content), err
}

func encodeBase64(value any) (string, error) {
	content, err := bytesOf(value)
	return base64.StdEncoding.EncodeToString(content), err
}

func encodeRaw(value any) (string, error) {
	content, err := bytesOf(value)
	return string(content), err
}

func encodePem(value any) (string, error) {
	block := pem.Block{}
	switch value := value.(type) {
	case Secret:
		block = pem.Block{Type: "CERTIFICATE", Bytes: value.Cert.der}
	case Certificate:
		block = pem.Block{Type: "CERTIFICATE", Bytes: value.der}
	case PublicKey:
		block = pem.Block{Type: "PUBLIC KEY", Bytes: value}
	case PrivateKey:
		block = pem.Block{Type: "PRIVATE KEY", Bytes: value}
	default:
		return "", fmt.Errorf("%T has no PEM form", value)
	}
	if len(block.Bytes) == 0 {
		return "", errors.New("nothing to encode")
	}
	return string(pem.EncodeToMemory(&block)), nil
}

func encodeString(value any) (string, error) {
	secret, ok := value.(Secret)
	if !ok || secret.Type != "plain" {
		return "", errors.New("string takes a plain secret")
	}
	content := string(secret.Public)
	if content == "" {
		return "", errors.New("secret is empty")
	}
	if strings.ContainsRune(content, 0) {
		return "", errors.New("NUL in a string")
	}
	return content, nil
}

// stored is one secret of data.json; the values are base64.
type stored struct {
	Type        string
	Size        uint
	Shared      bool
	UserDefined bool
	ValidFor    uint
	Cert        []byte
	Public      []byte
	Private     []byte
}

func (s stored) secret() Secret {
	return Secret{
		Type: s.Type, Size: s.Size, Shared: s.Shared, UserDefined: s.UserDefined, ValidFor: s.ValidFor,
		Cert: Certificate{s.Cert}, Public: s.Public, Private: s.Private,
	}
}

type dataFile struct {
	Secrets  map[string]stored
	Previous map[string]stored
	Reserved struct {
		RootCA, MarbleCert, CoordinatorRoot, CoordinatorIntermediate, SealKey stored
	}
}

type testCase struct {
	Name   string `json:"name"`
	Place  string `json:"place"`
	Source string `json:"source"`
	// Base64 is set when the source is not valid UTF-8.
	Base64 bool `json:"base64,omitempty"`
}

type expectation struct {
	Name   string  `json:"name"`
	Output *string `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "-try" {
		result := run(testCase{Name: "try", Place: os.Args[3]}, readData(os.Args[2]), readStandardInput())
		if result.Output == nil {
			fmt.Println("ERROR:", result.Error)
			return
		}
		output, _ := base64.StdEncoding.DecodeString(*result.Output)
		fmt.Printf("%q\n", output)
		return
	}
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: oracle data.json templates.json expected.json")
		os.Exit(2)
	}
	data := readData(os.Args[1])
	var cases []testCase
	read(os.Args[2], &cases)
	results := make([]expectation, 0, len(cases))
	for _, test := range cases {
		source := test.Source
		if test.Base64 {
			decoded, err := base64.StdEncoding.DecodeString(source)
			check(err)
			source = string(decoded)
		}
		results = append(results, run(test, data, source))
	}
	lines := make([]string, 0, len(results))
	for _, result := range results {
		line, err := json.Marshal(result)
		check(err)
		lines = append(lines, string(line))
	}
	check(os.WriteFile(os.Args[3], []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644))
}

func readData(path string) Root {
	var file dataFile
	read(path, &file)
	reserved := Reserved{
		RootCA:                  file.Reserved.RootCA.secret(),
		MarbleCert:              file.Reserved.MarbleCert.secret(),
		CoordinatorRoot:         file.Reserved.CoordinatorRoot.secret(),
		CoordinatorIntermediate: file.Reserved.CoordinatorIntermediate.secret(),
		SealKey:                 file.Reserved.SealKey.secret(),
	}
	root := Root{MarbleRun: reserved, Marblerun: reserved, Secrets: map[string]Secret{}}
	root.Previous.Secrets = map[string]Secret{}
	for name, value := range file.Secrets {
		root.Secrets[name] = value.secret()
	}
	for name, value := range file.Previous {
		root.Previous.Secrets[name] = value.secret()
	}
	return root
}

func run(test testCase, data Root, source string) expectation {
	functions := template.FuncMap{"hex": encodeHex, "base64": encodeBase64, "pem": encodePem}
	switch test.Place {
	case "file":
		functions["raw"] = encodeRaw
	case "env":
		functions["string"] = encodeString
	default:
		check(fmt.Errorf("%s: unknown place %q", test.Name, test.Place))
	}
	parsed, err := template.New("corpus").Funcs(functions).Parse(source)
	if err != nil {
		return expectation{Name: test.Name, Error: err.Error()}
	}
	var output bytes.Buffer
	if err := parsed.Execute(&output, data); err != nil {
		return expectation{Name: test.Name, Error: err.Error()}
	}
	encoded := base64.StdEncoding.EncodeToString(output.Bytes())
	return expectation{Name: test.Name, Output: &encoded}
}

func read(path string, into any) {
	content, err := os.ReadFile(path)
	check(err)
	check(json.Unmarshal(content, into))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readStandardInput() string {
	content, err := io.ReadAll(os.Stdin)
	check(err)
	return string(content)
}

package hsstest

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// algorithm is the signing algorithm that the server knows.
const algorithm = "SDK-HMAC-SHA256"

// authorization is a parsed Authorization header.
type authorization struct {
	accessKey     string
	signedHeaders []string
	signature     []byte
}

// parseAuthorization reads
// "SDK-HMAC-SHA256 Access=…, SignedHeaders=a;b, Signature=hex".
func parseAuthorization(header string) (authorization, error) {
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return authorization{}, fmt.Errorf("the Authorization header must begin with %q", algorithm+" ")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; twice {
			return authorization{}, fmt.Errorf("the Authorization header has %q twice", name)
		}
		fields[name] = value
	}
	return authorizationFrom(fields)
}

func authorizationFrom(fields map[string]string) (authorization, error) {
	for _, name := range []string{"Access", "SignedHeaders", "Signature"} {
		if fields[name] == "" {
			return authorization{}, fmt.Errorf("the Authorization header lacks %q", name)
		}
	}
	if len(fields) != 3 {
		return authorization{}, fmt.Errorf("the Authorization header has %d fields, allowed are Access, SignedHeaders and Signature", len(fields))
	}
	signed, err := parseSignedHeaders(fields["SignedHeaders"])
	if err != nil {
		return authorization{}, err
	}
	signature, err := hex.DecodeString(fields["Signature"])
	if err != nil || len(signature) != 32 || fields["Signature"] != strings.ToLower(fields["Signature"]) {
		return authorization{}, fmt.Errorf("the signature must have 64 hexadecimal digits in lower case")
	}
	return authorization{accessKey: fields["Access"], signedHeaders: signed, signature: signature}, nil
}

// parseSignedHeaders wants names in lower case, sorted and without repetition.
func parseSignedHeaders(list string) ([]string, error) {
	names := strings.Split(list, ";")
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) {
			return nil, fmt.Errorf("signed header %q must be a name in lower case", name)
		}
		if i > 0 && names[i-1] >= name {
			return nil, fmt.Errorf("signed header %q is out of order or repeated", name)
		}
	}
	if !slices.Contains(names, dateHeader) {
		return nil, fmt.Errorf("the header X-Sdk-Date must be signed")
	}
	return names, nil
}

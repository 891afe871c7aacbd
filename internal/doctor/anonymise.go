package doctor

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/replay"
)

// What a record shows as it is: nothing of it names anything of the customer. Every other text gets a pseudonym, as a field that
// nobody thought of may be a secret.
var (
	publicFields = regexp.MustCompile(`^(scan_status|scan_failed_code|image_type|registry_type|type|status|fail_reason|shared_status|severity_level|severity|` +
		`repair_necessity|handle_status|error_code|protocol|api_version|vul_id|cve_id|limit|offset|sort_key|sort_dir|[a-z_]*(_num|_score|_size|cvss))$`)
	publicTexts = regexp.MustCompile(`^(|true|false|null|latest|(swr\.)?[a-z]{2}-(north|south|east|west|central)[a-z]*-\d+(\.myhuaweicloud\.(com|eu))?)$`)
	// publicPaths are the parts of paths that are no IDs.
	publicPaths = regexp.MustCompile(`^(|\{project_id\}|v3|v5|projects|images?|registries|vulnerabilit(y|ies)|cve|sensitive|malwares|pay-per-scan|statistics)$`)
	// prose may hold anything, and is left out.
	prose = regexp.MustCompile(`(^|_)(desc|description|msg|detail|solution|url|position|path|username)$`)
	words = regexp.MustCompile(`%2F|[\pL\pN]+`)
	hex   = regexp.MustCompile(`^[0-9a-f]{32,}$`)
)

// recordedAt is the time of every record: all times in it are moved so that this is when it was written.
func recordedAt() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }

// Times are moved if they are in milliseconds, or in seconds, and not too early.
const (
	firstMillis  = 300_000_000_000
	firstSeconds = 500_000_000
)

// derived is a text that doctor made of one of HSS, to see how HSS's filters compare.
type derived struct {
	from string
	make func(string) string
}

// pseudonyms replaces names, the same name always by the same one. A pseudonym has the length of the name, letters where that has
// letters, digits where it has digits, and its other characters.
type pseudonyms struct {
	key   []byte
	texts map[string]string // of derived texts
	known map[string]string // of words
	used  map[string]bool
	moved int64 // milliseconds that are added to times
}

// newRecord returns the anonymised record of exchanges, with pseudonyms that depend on a key.
func newRecord(exchanges []replay.Exchange, made []derived, key []byte, now time.Time) *replay.Record {
	p := &pseudonyms{key: key, texts: map[string]string{}, known: map[string]string{}, used: map[string]bool{}, moved: recordedAt().Sub(now).Milliseconds()}
	// The longest first, as one may be made of another.
	slices.SortStableFunc(made, func(a, b derived) int { return len(b.from) - len(a.from) })
	for _, d := range made {
		p.texts[d.make(d.from)] = d.make(p.text(d.from))
	}
	r := &replay.Record{Version: replay.Version, Time: recordedAt()}
	for _, e := range exchanges {
		e.Request = p.request(e.Request)
		if json.Valid(e.JSON) {
			e.JSON = p.body(e.JSON)
		} else {
			e.JSON, e.Text = nil, fmt.Sprintf("%.1s (%d bytes that are not JSON were left out)", strings.TrimSpace(string(e.JSON)), len(e.JSON))
		}
		r.Exchanges = append(r.Exchanges, e)
	}
	return r
}

// request replaces IDs in the path, and values in the query.
func (p *pseudonyms) request(key string) string {
	path, query, hasQuery := strings.Cut(key, "?")
	segments := strings.Split(path, "/")
	for i, s := range segments[1:] {
		if text, err := url.PathUnescape(s); err == nil && !publicPaths.MatchString(s) && segments[i] != "vulnerability" {
			segments[i+1] = url.PathEscape(p.text(text))
		}
	}
	values, _ := url.ParseQuery(query) // Key has encoded it
	for name := range values {
		for i, value := range values[name] {
			if values[name][i] = p.field(name, value); name == "enterprise_project_id" {
				values[name][i] = hss.AllGrantedEnterpriseProjects
			}
		}
	}
	if !hasQuery {
		return strings.Join(segments, "/")
	}
	return strings.Join(segments, "/") + "?" + values.Encode()
}

// body replaces what is in the texts and the IDs and times of a JSON text. Whatever else is in it stays as it was sent.
func (p *pseudonyms) body(text []byte) []byte {
	name := ""
	return regexp.MustCompile(`("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*`).ReplaceAllFunc(text, func(token []byte) []byte {
		var content string
		switch quoted := bytes.HasPrefix(token, []byte(`"`)); {
		case bytes.HasSuffix(token, []byte(":")): // its name has no colon behind the quote
			name = strings.Trim(strings.TrimRight(string(token), ": \t\r\n"), `"`)
			return token
		case quoted && json.Unmarshal(token, &content) == nil:
			replaced, _ := json.Marshal(p.field(name, content)) // every text can be marshaled
			return replaced
		case quoted:
			return []byte(`""`)
		case name == "id" || strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_time"):
			return []byte(p.field(name, string(token)))
		}
		return token
	})
}

// field replaces a text, or digits, of a field.
func (p *pseudonyms) field(name, text string) string {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case strings.HasSuffix(name, "_time") && err == nil:
		switch {
		case n >= firstMillis:
			n += p.moved
		case n >= firstSeconds && n < secondsUpTo:
			n += p.moved / 1000
		}
		return strconv.FormatInt(n, 10)
	case publicFields.MatchString(name) || publicTexts.MatchString(text):
		return text
	case prose.MatchString(name):
		return "(removed)"
	}
	return p.text(text)
}

// text returns the pseudonym of a text.
func (p *pseudonyms) text(s string) string {
	if made, ok := p.texts[s]; ok {
		return made
	}
	return words.ReplaceAllStringFunc(s, p.word)
}

// word returns the pseudonym of a word. No two words of one form have the same.
func (p *pseudonyms) word(w string) string {
	if w == "sha256" || w == "0" || w == "%2F" {
		return w
	}
	if known, ok := p.known[w]; ok {
		return known
	}
	for n := 0; ; n++ {
		if made := p.form(w, n); !p.used[made] || n > 10_000 {
			p.known[w], p.used[made] = made, true
			return made
		}
	}
}

// form returns the n-th text in the form of a word.
func (p *pseudonyms) form(w string, n int) string {
	runes, isHex := []rune(w), hex.MatchString(w)
	for i, r := range runes {
		mac := hmac.New(sha256.New, p.key)
		fmt.Fprintf(mac, "%s %d %d", w, n, i)
		sum := mac.Sum(nil)
		random := rune(sum[0])<<8 | rune(sum[1])
		switch {
		case isHex:
			runes[i] = rune("0123456789abcdef"[random%16])
		case r >= '0' && r <= '9' && i == 0 && r != '0':
			runes[i] = '1' + random%9 // a number has no leading zero
			if len(runes) >= 19 {
				runes[i] = '1' // it must not be larger than an int64
			}
		case unicode.IsDigit(r):
			runes[i] = '0' + random%10
		case r < unicode.MaxASCII && unicode.IsUpper(r):
			runes[i] = 'A' + random%26
		case r < unicode.MaxASCII:
			runes[i] = 'a' + random%26
		default:
			runes[i] = '一' + random%5000
		}
	}
	return string(runes)
}

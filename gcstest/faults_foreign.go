package gcstest

import (
	"fmt"
	"net/http"
)

// foreign makes the answer of something that stands in the service's place.
func (x *exchange) foreign() result {
	status := x.fault.Status
	if status == 0 {
		status = http.StatusNotFound
	}
	body, contentType := x.fault.Body.of(status), "application/json"
	switch x.fault.Body {
	case BodyText:
		contentType = "text/plain; charset=utf-8"
	case BodyHTML:
		contentType = "text/html; charset=utf-8"
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	}
	return madeUp(status, contentType, body)
}

// of is the body of an answer with the given status.
func (b Body) of(status int) []byte {
	text := http.StatusText(status)
	switch b {
	case BodyHTML:
		return fmt.Appendf(nil, "<!DOCTYPE html><html><head><title>%d %s</title></head><body><h1>%s</h1></body></html>", status, text, text)
	case BodyEmpty:
		return nil
	case BodyJSON:
		return []byte("{}")
	case BodyErrors:
		return fmt.Appendf(nil, `{"error":{"code":%d,"message":%q,"status":%q}}`, status, text, text)
	case BodyOther:
		return []byte(`{"kind":"storage#object","bucket":"elsewhere","name":"something","generation":"1","metageneration":"1",` +
			`"timeCreated":"2020-01-01T00:00:00Z","updated":"2020-01-01T00:00:00Z"}`)
	case BodyCut:
		return []byte(`{"kind":"storage#object","bucket":"`)
	}
	return []byte(text)
}

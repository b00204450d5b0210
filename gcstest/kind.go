package gcstest

// Kind says what a request to the service does.
type Kind int

// The kinds of request. The zero Kind is [Any], which no request has and which
// matches every one.
const (
	Any       Kind = iota
	Insert         // upload of an object: creation or overwrite, in one request or several
	Get            // metadata of an object
	Media          // content of an object
	Patch          // merge into the metadata of an object
	Update         // replacement of the metadata of an object
	Delete         // deletion of an object
	List           // listing of the objects of a bucket
	BucketGet      // attributes of a bucket
	Other          // everything else, such as creation of a bucket
	kinds
)

var kindNames = [kinds]string{
	Any: "any", Insert: "insert", Get: "get", Media: "media", Patch: "patch",
	Update: "update", Delete: "delete", List: "list", BucketGet: "bucketGet", Other: "other",
}

// String returns the kind's name, such as "insert".
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

// class is the price class of a request.
type class int

const (
	free class = iota
	classA
	classB
)

// price returns the class in which the service bills a request that succeeded.
func (k Kind) price() class {
	switch k {
	case Insert, Patch, Update, List:
		return classA
	case Get, Media, BucketGet:
		return classB
	default:
		return free
	}
}

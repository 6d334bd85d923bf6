# What jaq has not, or has otherwise than jq. Written after jq's manual.

# What filters are rewritten to: see rewrite.rs.
def _text: if isstring then . else tojson end;
def _key: if isstring then . else error("Object keys must be strings") end;
def _divide($x; $y):
  if $y == 0 and ($x | isnumber) then error("\($x | _described) and \($y | _described) cannot be divided because the divisor is zero")
  else $x / $y end;
def _integer: if . < -9223372036854775808 then -9223372036854775808 elif . > 9223372036854775807 then 9223372036854775807 else trunc | _floor end;
def _remainder($x; $y):
  if ($x | isnumber | not) or ($y | isnumber | not) then $x % $y
  elif ($x | isnan) or ($y | isnan) then nan
  else ($y | _integer) as $whole
    | if $whole == 0 then error("\($x | _described) and \($y | _described) cannot be divided (remainder) because the divisor is zero")
      else ($x | _integer) % $whole end
  end;
def _index: if isnumber then (if isnan then 9007199254740991 else _floor end) else . end;
def _start: if isnumber then _floor else . end;
def _end: if isnumber then _ceiling else . end;
def _deep: if isarray and length > 10000 then error("Path too deep") else . end;
def setpath($path; $value): ($path | _deep) as $path | _setpath($path; $value);
def delpaths($paths): ($paths | if isarray then map(_deep) else . end) as $paths | _delpaths($paths);
def _assign(paths; $value): reduce path(paths) as $p (.; _setpath($p; $value));
def _modify(paths; f):
  reduce path(paths) as $p ([., []];
    .[0] as $x | [first($x | getpath($p) | f)] as $new
    | if $new == [] then [$x, .[1] + [$p]] else [($x | _setpath($p; $new[0])), .[1]] end)
  | .[1] as $empty | .[0] | _delpaths($empty);
def del(f): _delpaths([path(f)]);
def to_entries: [keys_unsorted[] as $k | {key: $k, value: .[$k]}];
def pick(f): . as $x | reduce path(f) as $p (null; _setpath($p; $x | getpath($p)));
def walk(f): def w: if isobject then map_values(w) elif isarray then map(w) else . end | f; w;
def paths: path(..) | select(length > 0);
def leaf_paths: paths(scalars);

# Containers
def _contains($x): contains($x);
def contains($x):
  if type == ($x | type) then _contains($x)
  else error("\(type) (\(tojson)) and \($x | type) (\($x | tojson)) cannot have their containment checked") end;
def inside($x): . as $y | $x | contains($y);
def _indices($x): indices($x);
def indices($x): if . == null then null else _indices($x) end;
def index($x): indices($x) | if . == null then null else .[0] end;
def rindex($x): indices($x) | if . == null then null else .[-1] end;
def transpose: if . == [] then [] else (map(length) | max) as $n | [range(0; $n | if isnumber then . else error("Range bounds must be numeric") end) as $i | [.[] | .[$i]]] end;
def _flatten($depth):
  reduce .[] as $i ([]; if ($i | isarray) and $depth != 0 then . + ($i | _flatten($depth - 1)) else . + [$i] end);
def flatten($depth): if $depth < 0 then error("flatten depth must not be negative") else _flatten($depth) end;
def flatten: _flatten(-1);
def _reverse: reverse;
def reverse: if isstring then explode | _reverse | implode elif . == null then [] else _reverse end;

# Strings and numbers
def _whole: if isnumber then trunc | _floor else . end;
def _nonnumber: if isobject then error("Cannot index object with number") else . end;
def tostring: _text;
def fromjson: _fromjson;
def tonumber: _tonumber;
def toarray: if isarray then . else [.] end;
def ascii: [.] | implode;
def trimstr($x): ltrimstr($x) | rtrimstr($x);
def join($x):
  reduce .[] as $i (null;
    (if . == null then "" else . + $x end)
    + ($i | if . == null then "" elif isstring or isarray or isobject then . else tojson end))
  | if . == null then "" else . end;
def ltrimstr($x): if isstring and ($x | isstring) and startswith($x) then .[($x | length):] else . end;
def rtrimstr($x): if isstring and ($x | isstring) and endswith($x) and $x != "" then .[:(length - ($x | length))] else . end;
def _cell(quote):
  if isnumber or isboolean then tojson elif . == null then "" elif isstring then quote
  else error("\(tojson) is not valid in a csv row") end;
def _row: if isarray then . else error("\(tojson) cannot be csv-formatted, only an array can be") end;
def @text: _text;
def @json: tojson;
def @csv: _row | map(_cell("\"" + (split("\"") | join("\"\"")) + "\"")) | join(",");
def @tsv:
  _row | map(_cell(split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n") | split("\r") | join("\\r")))
  | join("\t");
def @html: _text | escape_html;
def @uri: _text | encode_uri;
def @urid: _text | decode_uri;
def @base64: _text | encode_base64;
def @base64d: _text | split("=") | join("") | split("\n") | join("") | _base64d;
def @base32: _text | _base32;
def @base32d: _text | _base32d;
def @sh:
  [if isarray then .[] else . end
    | if isstring then "'" + (split("'") | join("'\\''")) + "'"
      elif isarray or isobject then error("\(tojson) can not be escaped for shell") else tojson end]
  | join(" ");

def _trim: trim;
def trim: if isstring then _trim else error("trim input must be a string") end;
def _ltrim: ltrim;
def ltrim: if isstring then _ltrim else error("trim input must be a string") end;
def _rtrim: rtrim;
def rtrim: if isstring then _rtrim else error("trim input must be a string") end;
def _utf8bytelength: utf8bytelength;
def utf8bytelength: if isstring then _utf8bytelength else error("\(_described) only strings have UTF-8 byte length") end;
def toboolean:
  if isboolean then . elif . == "true" then true elif . == "false" then false
  else error("\(_described) cannot be parsed as a boolean") end;
def _bsearch($x): bsearch($x);
def bsearch($x): if isarray then _bsearch($x) else error("\(_described) cannot be searched from") end;
def _implode: implode;
def _codepoint:
  if (isnumber | not) or isnan then error("\(_described) can't be imploded, unicode codepoint needs to be numeric")
  else _integer | if . < 0 or . > 1114111 or (. >= 55296 and . <= 57343) then 65533 else . end end;
def implode: if isarray then map(_codepoint) | _implode else error("implode input must be an array") end;
def _has($key): has($key);
def has($key): if isarray and ($key | isnumber and isnan) then false else _has($key) end;

# Times
def _fields($name):
  if isnumber then _whole elif isarray and all(.[]; isnumber) then . + [range(6 - length) | 0]
  else error("\($name) requires parsed datetime inputs") end;
def _replace($from; $to): split($from) | join($to);
# Those that depend on the locale are as in C.
def _locale: if . == "" then . else _replace("%c"; "%a %b %e %X %Y") | _replace("%x"; "%D") end;
def _format($name):
  if isstring then split("%%") | map(_locale) | join("%%") else error("\($name) requires a string format") end;
def _strftime($format): strftime($format);
def strftime($format): ($format | _format("strftime/1")) as $format | _fields("strftime/1") | _strftime($format);
# Fields beyond their range count on, as with timegm(3). The year begins in March here, so that the leap day is its last.
def _days:
  (.[0] * 12 + .[1] - 2) as $months | ($months / 12 | floor) as $year | ($months - $year * 12) as $month
  | $year * 365 + ($year / 4 | floor) - ($year / 100 | floor) + ($year / 400 | floor) + ((153 * $month + 2) / 5 | floor) + .[2] - 719469;
def mktime:
  if isarray then _fields("mktime") | map(_whole) | ((_days * 24 + .[3]) * 60 + .[4]) * 60 + .[5] | _whole
  else error("mktime requires array of 6 numbers") end;
def _localtime: localtime;
def localtime: if isnumber then . + _local_offset | gmtime else _localtime end;
def strflocaltime($format):
  ($format | _format("strflocaltime/1")) as $format | _fields("strflocaltime/1")
  | (if isnumber then [., false] else [mktime, true] end) | _local_text($format);

# Regular expressions with the flags in an array
def match($v): . as $x | $v | if isarray then .[0] as $re | (.[1] // "") as $flags | $x | match($re; $flags) else . as $re | $x | match($re; "") end;
def test($v): . as $x | $v | if isarray then .[0] as $re | (.[1] // "") as $flags | $x | test($re; $flags) else . as $re | $x | test($re; "") end;
def capture($v): . as $x | $v | if isarray then .[0] as $re | (.[1] // "") as $flags | $x | capture($re; $flags) else . as $re | $x | capture($re; "") end;

# Streams
def _limit($n; f): limit($n; f);
def _skip($n; f): skip($n; f);
def limit($n; f): if $n < 0 then error("limit doesn't support negative count") else _limit($n; f) end;
def skip($n; f): if $n < 0 then error("skip doesn't support negative count") else _skip($n; f) end;
def nth($n; f): if $n < 0 then error("nth doesn't support negative indices") else first(_skip($n; f)) end;
def tostream: path(def r: (.[]?|r), .; r) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def truncate_stream(s): . as $n | null | s | . as $e | if (.[0] | length) > $n then _setpath([0]; $e[0][$n:]) else empty end;
def fromstream(f):
  { x: null, e: false } as $init
  | foreach f as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then _setpath(["e"]; $i[0] | length == 0) | _setpath(["x"] + $i[0]; $i[1])
        else _setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def input: _input;

# Objects
def from_entries:
  reduce .[] as $e ({};
    . + { ($e | if .key != null then .key elif .k != null then .k elif .name != null then .name elif .Name != null then .Name
        elif .Key != null then .Key elif .K != null then .K elif .key == false or .k == false then false else null end | _text):
      ($e | if has("value") then .value elif has("v") then .v else .Value end) });
def with_entries(f): to_entries | map(f) | from_entries;
def IN(s): any(s == .; .);
def IN(source; s): any(source == s; .);
def INDEX(stream; f): reduce stream as $row ({}; . + { ($row | f | _text): $row });
def INDEX(f): INDEX(.[]; f);
def JOIN($idx; f): [.[] | [., $idx[f]]];
def JOIN($idx; stream; f): stream | [., $idx[f]];
def JOIN($idx; stream; f; join): stream | [., $idx[f]] | join;

# What is left
def todateiso8601: strftime("%Y-%m-%dT%H:%M:%SZ");
def todate: todateiso8601;
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;
def get_search_list: [];
def have_literal_numbers: true;
def have_decnum: true;
def halt_error($exit_code): (if . == null then empty elif isstring then . else tojson + "\n" end | stderr_empty), halt($exit_code);
def halt_error: halt_error(5);

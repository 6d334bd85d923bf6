# What jaq has not, or has otherwise than jq. Written after jq's manual.
def fromjson: fromjson_;
def tonumber: tonumber_;
def toarray: if isarray then . else [.] end;
def ascii: [.] | implode;
def todate(f): strftime(f);
def dateadd(u; n): . + n;
def datesub(u; n): . - n;
def date: todate;
def get_search_list: [];
def have_literal_numbers: true;
def have_decnum: false;
def trimstr($x): ltrimstr($x) | rtrimstr($x);
def tostream: path(def r: (.[]?|r), .; r) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def truncate_stream(s): . as $n | null | s | . as $e | if (.[0] | length) > $n then setpath([0]; $e[0][$n:]) else empty end;
def fromstream(f): { x: null, e: false } as $init
  | foreach f as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def splits($re; flags): split($re; flags) | .[];
def halt_error($exit_code): (if isstring then . else tojson + "\n" end | stderr_empty), halt($exit_code);
def halt_error: halt_error(5);
def IN(s): any(s == .; .);
def IN(source; s): any(source == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);
def ltrimstr($x): if isstring and ($x | isstring) and startswith($x) then .[($x | length):] else . end;

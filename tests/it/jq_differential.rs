//! The function `jq` beside the program jq: random documents, filters and options.
//!
//! Compared are standard output and the status, and whether there is an error. Of numbers there are those that jq 1.6 to 1.8
//! write in the same way: 1.7 and later keep the digits of others.

use std::fmt::Write as _;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use support::{Sandbox, seeded};

const DOCUMENTS: usize = 60;

/// Options and a filter, as the shell reads them.
const CASES: &[&str] = &[
    ".",
    "-c .",
    "-S .",
    "-cS .",
    "-r .",
    "-j .",
    "-a .",
    "-ca .",
    "--tab .",
    "--indent 1 .",
    "--indent 7 .",
    "--indent 0 .",
    "-s .",
    "-sc length",
    "-n '[inputs]'",
    "-nc '[inputs | type]'",
    "-n input",
    "-R .",
    "-Rs .",
    "-rR .",
    "-e .",
    "-e .a",
    "-c --stream .",
    "-c tostream",
    "-c '[tostream] | fromstream(.[])'",
    "-rj .",
    "-c . -",
    "-c '[., input_filename]' other - other -",
    "-c --arg x 1 '[., $x]' -- -",
    "-s . - -",
    "-R . -",
    "-n '[inputs]' -",
    "-c '\"\\ud83d\\ude00\", \"\\uDE00x\", {\"\\ud83d\\ude00\": 1}, \"\\\\ud83d\\\\ude00\"'",
    "-c '\"a\\(\"\\ud83d\\ude00\")\\u00e9\"'",
    "'\"\\ud83d\"'",
    "'\"\\ud83d\\u0041\"'",
    "-c .a",
    "-c '.a?'",
    "-c '.[]?'",
    "-c '.[0]?'",
    "-c '.[-1]?'",
    "-c '.[1:3]?'",
    "-c '..'",
    "-c 'keys?'",
    "-c 'keys_unsorted?'",
    "-c 'length?'",
    "-c type",
    "-c 'to_entries?'",
    "-c 'select(type == \"object\") | with_entries(.value |= tostring)'",
    "-c 'map(type)?'",
    "-c 'map_values(type)?'",
    "-c '[paths]'",
    "-c '[paths(type == \"string\")]'",
    "-c '[leaf_paths]'",
    "-c '[.. | numbers]'",
    "-c '[.. | strings | length]'",
    "-c 'flatten?'",
    "-c 'sort?'",
    "-c 'sort_by(tostring)?'",
    "-c 'group_by(type)?'",
    "-c 'unique?'",
    "-c 'unique_by(type)?'",
    "-c 'min?, max?'",
    "-c 'select(type == \"array\") | reverse'",
    "-c 'add?'",
    "-c 'any?, all?'",
    "-c 'del(.a)?'",
    "-c 'del(.[0])?'",
    "-c '.a = 1'",
    "-c '.a.b.c = 1'",
    "-c '.a |= 1'",
    "-c '.a += 1'",
    "-c '.new.list[2] = \"x\"'",
    "-c '.a //= \"none\"'",
    "-c '.[0] = 1'",
    "-c '(.. | strings) |= ascii_upcase'",
    "-c 'walk(if type == \"number\" then . + 1 else . end)'",
    "-c tojson",
    "-c 'tojson | fromjson'",
    "-r '@json, @text'",
    "-r '@html'",
    "-r '@base64'",
    "-r '@base64 | @base64d'",
    "-r '.[]? | @sh?'",
    "-r 'select(type == \"array\") | map(tostring) | @csv, @tsv'",
    "-c '[.. | tostring]'",
    "-c 'has(\"a\")?'",
    "-c 'contains(\"a\")?'",
    "-c 'if .a? then 1 elif . == null then 2 else 3 end'",
    "-c '.a? // \"none\"'",
    "-c 'try error(\"x\") catch .'",
    "-c 'reduce .[]? as $x (0; . + 1)'",
    "-c '[foreach .[]? as $x (0; . + 1)]'",
    "-c '[limit(2; .[]?)]'",
    "-c 'first(.[]?)'",
    "-c '[range(0; 10; 3)]'",
    "-c 'select(type == \"array\") | . as [$a] | $a'",
    "-c '. as {a: $x} | $x'",
    "-c 'def f(x): x | x; f([.])'",
    "-c 'label $out | .[]? | ., break $out'",
    "-c '[splits(\"a\")]?'",
    "-c 'select(type == \"string\") | ascii_downcase, explode, (explode | implode)'",
    "-c 'select(type == \"string\") | ltrimstr(\"a\"), rtrimstr(\"b\"), startswith(\"a\"), endswith(\"b\")'",
    "-c 'select(type == \"string\") | split(\"a\"), test(\"[a-c]\"), [match(\"a\"; \"g\").offset]'",
    "-c 'select(type == \"string\") | sub(\"a\"; \"X\"), gsub(\"[ab]\"; \"<\\(.)>\"? // \"y\")'",
    "-c 'select(type == \"number\") | . + 1, . * 2, . / 2, -., floor, tostring'",
    "-c 'select(type == \"number\") | . % 3'",
    "-c 'transpose?'",
    "-c 'input_line_number | type'",
    "-c '{a, \"b\": 1, (\"x\" + \"y\"): .}?'",
    "-c 'inside({a: 1, b: 2})?'",
    "-c 'select(type == \"string\") | index(\"a\"), rindex(\"a\"), indices(\"a\")'",
    "-c 'getpath([\"a\", \"b\"])?'",
    "-c 'setpath([\"a\"]; 1)?'",
    "-c 'delpaths([[\"a\"]])?'",
    "-c 'env | type'",
    "-c '$ENV | type'",
    "-c --arg x 1 '[$x, $ARGS.named]'",
    "-c --argjson x '{\"a\":1}' '$x.a'",
    "-c '$ARGS' --args a b",
    "-c '[$ARGS.positional[] | type]' --jsonargs 1 '\"x\"' null",
    "-c --slurpfile x docs '$x | length'",
    "--rawfile x docs '$x | length'",
    "-c 'error'",
    "-c '.a.b.c'",
    "'.[] as $x'",
    "'{'",
    "-c 'nope'",
    "'. | | .'",
    "--nope .",
    "-n '\"a\" | halt_error'",
    "-n '{} | halt_error(3)'",
    "-n 'null | halt_error'",
    "-e 'empty'",
    "-n 'halt'",
    "-c '.[\"a\"]?'",
    "-c 'input'",
    "-nc '[limit(3; repeat(1))]'",
    "-c 'IN(1, null)'",
    "-c 'INDEX(type)?'",
    "-c 'ascii_downcase?'",
    "-c 'tojson | length'",
    "-c '@uri'",
    "-c 'isvalid(.a)'",
    "-c 'ltrimstr(1)'",
    "-c '. == .'",
    "-c '[.] | . < [1]'",
    "-c 'infinite, nan | isinfinite'",
    "-c '[1,[2]] | .[1][0] |= 5'",
    "-c 'join(\",\")?'",
    "-c 'select(type == \"array\") | map(strings) | join(\"-\")'",
    "-c 'todate?'",
    "-n -c '1710074096.5 | (gmtime | todate, todateiso8601), strftime(\"%c %x %%c %%%x\"), strflocaltime(\"%c\"), (localtime | strftime(\"%c\"))'",
    "-n -c '[2024, 1, 31, 1, 2, 3, 0, 0], [2024, 14, 0, 1, 2, 3, 0, 0], [1899, -1, 0, 25, 61, -3, 0, 0], [2000, 25, 400, 1, 2, 3.5, 0, 0] | mktime'",
    "-n -c '[range(0; 3000; 7) | [1968, ., 29, 0, 0, 0, 0, 0] | mktime]'",
    "-n -c '1700000000 | todate, (todate | fromdate), gmtime, (gmtime | mktime), strftime(\"%Y %j\")'",
    "-c 'splits(1)?'",
    "-c 'ascii(65)'",
    "-n -c '[.[]?]'",
    "-c 'walk(.)'",
    "-c 'env.HOME | type'",
    "-n '[1,2,3] | .[1:] = [9]' -c",
    "-n -c '[1,2,3,4] | del(.[1,2])'",
    "-n -c '[3,1,2] | sort_by(-.)'",
    "-n -c '{} | .a[1].b = 1'",
    "-n -c 'null | .[2] = 1'",
    "-n -c '[1,null,2] | map(values)'",
    "-n -r '[1,\"a\\\"b\",null,true] | @csv, @tsv, @sh'",
    "-n -r '@base64 \"x\\(1+1)\"'",
    "-n -c '\"\\(1;2)\"'",
    "-n -c '[.[]?, 1] | first, last, nth(0)'",
    "-n -c '[1,2] | combinations(2)'",
    "-n -c '\"abc\" | .[1:2]'",
    "-n -c '[10,20,30] | .[0.5:1.5]'",
    "-c '. as [$a] ?// {$a} ?// $b | [$a, $b]'",
    "-c '[.[]? as [$x] ?// {a: [$x]} ?// $x | $x]'",
    "-c '.[]? as [$x] ?// $y | if $x then error($x) else $y end'",
    "-c '. as {a: $x} ?// [$x, {\"b\": $y}] | . as $z ?// [$z] | [$x, $y, $z]'",
    "-n -c '[(6, 8) / (2, 4)], [(7, 9) % (2, 4)], [1e18 % 7, -5 % 3, 5 % -3, 5.9 % 2]'",
    "-c '[.[]? | numbers | . / 4, 7 % 2]'",
    "-c '[.[]? | try (1 / .) catch \"no\"]'",
    "-c 'try (1 % .) catch \"no\"'",
    "-c '1 / .'",
    "-c '.[0]'",
    "-n -c '[\" a \", 1] | .[] | [65, 66, 8364] | implode'",
    "-c '(1, \"x\", 3) | . + 1'",
    "-n 'range(3) | error(\"x\")'",
    "-c '.[]? | (1, error(\"x\"), 2)'",
    "-n -1",
    "'-(1)'",
    "-n -c '[.[]?, -1]' --args -5",
    "-c . /dev/stdin",
    "-c . /dev/fd/0",
    "-n -c --slurpfile x /dev/stdin '$x'",
    "-n -c '[1,2,3] | has(1), has(3), [.[] | tostring]'",
    "-n -c '\"2024-03-15T10:20:30Z\" | fromdate | strftime(\"%H\"), (gmtime | mktime, strftime(\"%d\"))'",
];

fn random_value(random: &mut SmallRng, depth: usize, text: &mut String) {
    let kinds = if depth == 0 { 6 } else { 8 };
    match random.random_range(0..kinds) {
        0 => text.push_str("null"),
        1 => text.push_str(if random.random() { "true" } else { "false" }),
        2 => {
            let _ = write!(text, "{}", random.random_range(-1000..100_000));
        }
        3 => text
            .push_str(["0.5", "-1.25", "3.75", "1000000000", "12.125"][random.random_range(0..5)]),
        4 | 5 => text.push_str(random_string(random)),
        6 => {
            text.push('[');
            for index in 0..random.random_range(0..5) {
                text.push_str(if index > 0 { "," } else { "" });
                random_value(random, depth - 1, text);
            }
            text.push(']');
        }
        _ => {
            text.push('{');
            let keys = ["a", "b", "c d", "ä", "x-y", ""];
            // No key comes twice: --stream gives both.
            let first = random.random_range(0..keys.len());
            for index in 0..random.random_range(0..5) {
                text.push_str(if index > 0 { ", " } else { "" });
                let _ = write!(text, "\"{}\":", keys[(first + index) % keys.len()]);
                random_value(random, depth - 1, text);
            }
            text.push('}');
        }
    }
}

fn random_string(random: &mut SmallRng) -> &'static str {
    let strings = [
        "\"\"",
        "\"a\"",
        "\"abcab\"",
        "\"b\"",
        "\"with blank\"",
        "\"ä€😀\"",
        "\"q\\\"uo\\\\te\"",
        "\"line\\nbreak\\ttab\"",
        "\"\\u0001\\u001f\"",
        "\"<&>\"",
        "\"12\"",
        "\"null\"",
        "\"\\ud83d\\ude00\"",
        "\"{}\"",
    ];
    strings[random.random_range(0..strings.len())]
}

#[test]
fn jq_does_what_the_program_does() {
    let mut random = SmallRng::seed_from_u64(seeded::seed());
    let mut documents = String::new();
    for _ in 0..DOCUMENTS {
        random_value(&mut random, 4, &mut documents);
        documents.push('\n');
    }
    let cases = seeded::share(CASES.iter().copied())
        .collect::<Vec<_>>()
        .join("\n");
    let body = r#"compare() {
  local ours theirs
  jq "$@" <docs >ours 2>ours.errors; ours=$?
  command jq "$@" <docs >theirs 2>theirs.errors; theirs=$?
  if ((ours != theirs)) || ! cmp -s ours theirs || [[ -s ours.errors && ! -s theirs.errors ]] || [[ ! -s ours.errors && -s theirs.errors ]]; then
    printf 'jq %s: status %s, the program %s\n' "$*" "$ours" "$theirs"
    diff ours theirs | head -6
    head -2 ours.errors theirs.errors
  fi
}
handler() {
  set +e
  cd "$LAMBDA_TASK_ROOT"
  while read -r line; do eval "compare $line"; done <cases
}"#;
    let sandbox = Sandbox::of(body)
        .env("COSHELL_COMMANDS", "jq")
        .file("docs", documents)
        .file("other", "{\"other\": 1}\n")
        .file("cases", cases + "\n")
        .start();
    let text = String::from_utf8(sandbox.respond("x")).expect("UTF-8");
    assert!(text.is_empty(), "{text}");
}

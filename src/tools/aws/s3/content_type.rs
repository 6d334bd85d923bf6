//! Guesses the content type of a file by its name, as Python's `mimetypes` does for the AWS CLI.

/// Content types, and the ends of names that they stand for.
const TYPES: [(&str, &str); 118] = [
    ("application/epub+zip", "epub"),
    ("application/json", "json"),
    ("application/manifest+json", "webmanifest"),
    ("application/msword", "doc dot wiz"),
    ("application/n-quads", "nq"),
    ("application/n-triples", "nt"),
    ("application/octet-stream", "a bin dll exe o obj so"),
    ("application/oda", "oda"),
    ("application/pdf", "pdf"),
    ("application/pkcs7-mime", "p7c"),
    ("application/postscript", "ai eps ps"),
    ("application/trig", "trig"),
    ("application/vnd.apple.mpegurl", "m3u m3u8"),
    ("application/vnd.ms-excel", "xlb xls"),
    ("application/vnd.ms-powerpoint", "pot ppa pps ppt pwz"),
    ("application/vnd.oasis.opendocument.graphics", "odg"),
    ("application/vnd.oasis.opendocument.presentation", "odp"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("application/vnd.oasis.opendocument.text", "odt"),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "pptx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/wasm", "wasm"),
    ("application/x-bcpio", "bcpio"),
    ("application/x-cpio", "cpio"),
    ("application/x-csh", "csh"),
    ("application/x-dvi", "dvi"),
    ("application/x-gtar", "gtar"),
    ("application/x-hdf", "hdf"),
    ("application/x-hdf5", "h5"),
    ("application/x-latex", "latex"),
    ("application/x-mif", "mif"),
    ("application/x-netcdf", "cdf nc"),
    ("application/x-pkcs12", "p12 pfx"),
    ("application/x-pn-realaudio", "ram"),
    ("application/x-python-code", "pyc pyo"),
    ("application/x-sh", "sh"),
    ("application/x-shar", "shar"),
    ("application/x-shockwave-flash", "swf"),
    ("application/x-sv4cpio", "sv4cpio"),
    ("application/x-sv4crc", "sv4crc"),
    ("application/x-tar", "tar"),
    ("application/x-tcl", "tcl"),
    ("application/x-tex", "tex"),
    ("application/x-texinfo", "texi texinfo"),
    ("application/x-troff", "roff t tr"),
    ("application/x-troff-man", "man"),
    ("application/x-troff-me", "me"),
    ("application/x-troff-ms", "ms"),
    ("application/x-ustar", "ustar"),
    ("application/x-wais-source", "src"),
    ("application/xml", "rdf wsdl xpdl xsl"),
    ("application/yaml", "yaml yml"),
    ("application/zip", "zip"),
    ("audio/3gpp", "3gp 3gpp"),
    ("audio/3gpp2", "3g2 3gpp2"),
    ("audio/aac", "aac adts ass loas"),
    ("audio/basic", "au snd"),
    ("audio/flac", "flac"),
    ("audio/matroska", "mka"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp2 mp3"),
    ("audio/ogg", "ogg"),
    ("audio/opus", "opus"),
    ("audio/x-aiff", "aif aifc aiff"),
    ("audio/x-pn-realaudio", "ra"),
    ("audio/x-wav", "wav"),
    ("font/otf", "otf"),
    ("font/ttf", "ttf"),
    ("font/woff", "woff"),
    ("font/woff2", "woff2"),
    ("image/avif", "avif"),
    ("image/bmp", "bmp"),
    ("image/gif", "gif"),
    ("image/heic", "heic"),
    ("image/heif", "heif"),
    ("image/ief", "ief"),
    ("image/jpeg", "jpe jpeg jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg"),
    ("image/tiff", "tif tiff"),
    ("image/vnd.microsoft.icon", "ico"),
    ("image/webp", "webp"),
    ("image/x-cmu-raster", "ras"),
    ("image/x-portable-anymap", "pnm"),
    ("image/x-portable-bitmap", "pbm"),
    ("image/x-portable-graymap", "pgm"),
    ("image/x-portable-pixmap", "ppm"),
    ("image/x-rgb", "rgb"),
    ("image/x-xbitmap", "xbm"),
    ("image/x-xpixmap", "xpm"),
    ("image/x-xwindowdump", "xwd"),
    ("message/rfc822", "eml mht mhtml nws"),
    ("text/css", "css"),
    ("text/csv", "csv"),
    ("text/html", "htm html"),
    ("text/javascript", "js mjs"),
    ("text/markdown", "markdown md"),
    ("text/n3", "n3"),
    ("text/plain", "bat c h ksh pl srt txt"),
    ("text/richtext", "rtx"),
    ("text/rtf", "rtf"),
    ("text/tab-separated-values", "tsv"),
    ("text/vtt", "vtt"),
    ("text/x-python", "py"),
    ("text/x-rst", "rst"),
    ("text/x-setext", "etx"),
    ("text/x-sgml", "sgm sgml"),
    ("text/x-vcard", "vcf"),
    ("text/xml", "xml"),
    ("video/matroska", "mkv"),
    ("video/mp4", "mp4"),
    ("video/mpeg", "m1v mpa mpe mpeg mpg"),
    ("video/ogg", "ogv"),
    ("video/quicktime", "mov qt"),
    ("video/webm", "webm"),
    ("video/x-msvideo", "avi"),
    ("video/x-sgi-movie", "movie"),
];
/// Ends of names that only say how a file is compressed: the type is that of the name before.
const COMPRESSIONS: [&str; 5] = ["gz", "Z", "bz2", "xz", "br"];
/// Ends that stand for two.
const SHORTHANDS: [(&str, &str); 6] = [
    ("svgz", "svg"),
    ("tgz", "tar"),
    ("taz", "tar"),
    ("tz", "tar"),
    ("tbz2", "tar"),
    ("txz", "tar"),
];

/// The content type of a file, or `None` if its name does not say.
pub(super) fn guess(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next()?;
    let (stem, mut end) = split_end(name)?;
    if let Some((_, inner)) = SHORTHANDS.iter().find(|(short, _)| *short == end) {
        end = inner;
    } else if COMPRESSIONS.contains(&end) {
        (_, end) = split_end(stem)?;
    }
    let exact = find(end);
    exact.or_else(|| find(&end.to_ascii_lowercase()))
}

/// A name, split at its last dot. Dots at the beginning do not count.
fn split_end(name: &str) -> Option<(&str, &str)> {
    let (stem, end) = name.rsplit_once('.')?;
    let is_hidden = stem.bytes().all(|byte| byte == b'.');
    (!is_hidden && !end.is_empty()).then_some((stem, end))
}

fn find(end: &str) -> Option<&'static str> {
    let mut types = TYPES.iter();
    let (content_type, _) = types.find(|(_, ends)| ends.split(' ').any(|other| other == end))?;
    Some(content_type)
}

#[cfg(test)]
mod tests {
    use super::guess;

    #[test]
    fn types_follow_the_end_of_the_name() {
        for (name, expected) in [
            ("a.txt", Some("text/plain")),
            ("/x.y/a", None),
            ("a.JSON", Some("application/json")),
            ("a.tar.gz", Some("application/x-tar")),
            ("a.tgz", Some("application/x-tar")),
            ("a.svgz", Some("image/svg+xml")),
            ("a.gz", None),
            ("a.json.gz", Some("application/json")),
            (".html", None),
            ("..html", None),
            ("a.", None),
            ("a b.HTML", Some("text/html")),
            ("a.js", Some("text/javascript")),
            ("a.unknown", None),
            ("", None),
        ] {
            assert_eq!(guess(name), expected, "{name}");
        }
    }
}

// Parameters of Postfix as main.cf has them and postconf(1) prints them: logical lines of `name = value`, cut into
// words. Parameters in values are not replaced: `postconf -x` does that. Source: postconf(5), "File format".

internal import PosternMail

struct MainParameters {
    /// The words of each value, separated by comma or white space, with their lines; of a name that stands there twice
    /// the last counts, as it does for Postfix.
    private(set) var values: [String: [ImportedLine]] = [:]

    init(_ octets: [UInt8], file: String) {
        var name: String?
        for (index, line) in ImportedText.lines(octets).enumerated() {
            let text = ImportedText.trimmed(line)
            // Empty lines and comments do not end a logical line.
            guard let sign = text.first, sign != UInt8(ascii: "#") else { continue }
            var value = text
            if let first = line.first, !ImportedText.isSpace(first) {
                guard let equals = text.firstIndex(of: UInt8(ascii: "=")) else {
                    name = nil
                    continue
                }
                let key = String(decoding: ImportedText.trimmed(text[..<equals]), as: UTF8.self)
                name = key
                values[key] = []
                value = text[(equals + 1)...]
            }
            guard let name else { continue }
            let words = value.split { ImportedText.isSpace($0) || $0 == UInt8(ascii: ",") }
            values[name, default: []] += words.map {
                ImportedLine(file: file, number: index + 1, text: String(decoding: $0, as: UTF8.self))
            }
        }
    }
}

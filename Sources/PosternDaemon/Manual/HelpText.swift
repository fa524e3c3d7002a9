// The text of a --help as sections, paragraphs and lists of a manual page. Its form: a heading in capitals on a line of
// its own, indented lines that stay as they are below it, options and what they mean in two columns, and paragraphs.

extension ManualPage {
    /// - Parameter text: as `swift-argument-parser` makes it, wide enough that no line is folded.
    public mutating func help(_ text: String) {
        var block: [Substring] = []
        var isListing = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let title = Self.heading(line) {
                append(block, isListing)
                block = []
                isListing = title.isListing
                if let rest = title.rest {
                    block = [rest]
                }
                if title.name != "OVERVIEW" { entryHeading(title.name) }
            } else if line.isEmpty {
                append(block, isListing)
                block = []
            } else {
                block.append(line)
            }
        }
        append(block, isListing)
    }

    private mutating func entryHeading(_ name: String) {
        paragraph(name.prefix(1) + name.dropFirst().lowercased() + ":")
    }

    /// `OPTIONS:`, `USAGE: …` and `EXIT STATUS`.
    private static func heading(_ line: Substring) -> (name: String, rest: Substring?, isListing: Bool)? {
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first, name.count > 2, name.allSatisfy({ $0.isUppercase || $0 == " " }),
            !name.hasPrefix(" ")
        else { return nil }
        let rest = parts.count > 1 ? parts[1].drop { $0 == " " } : ""
        let isListing = parts.count > 1 && rest.isEmpty
        return (String(name), rest.isEmpty ? nil : name == "OVERVIEW" ? rest : "  " + rest, isListing)
    }

    private mutating func append(_ block: [Substring], _ isListing: Bool) {
        guard let first = block.first else { return }
        if isListing {
            listing(block)
        } else if first.hasPrefix("  ") {
            verbatim(block.map { String($0.dropFirst(2)) })
        } else {
            paragraph(block.joined(separator: " "))
        }
    }

    /// Two columns: what is given, and what it means, which may go on below.
    private mutating func listing(_ block: [Substring]) {
        var entries: [(term: String, text: [String])] = []
        for line in block {
            let indent = line.prefix { $0 == " " }.count
            let words = line.dropFirst(indent)
            if indent > 4, !entries.isEmpty {
                entries[entries.count - 1].text.append(String(words))
            } else if let gap = words.firstRange(of: "  ") {
                entries.append(
                    (String(words[..<gap.lowerBound]), [String(words[gap.upperBound...].drop { $0 == " " })]))
            } else {
                entries.append((String(words), []))
            }
        }
        for (term, text) in entries { entry(term, text.joined(separator: " ")) }
    }
}

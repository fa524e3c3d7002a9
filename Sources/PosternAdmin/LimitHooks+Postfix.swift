// Where main.cf and master.cf have Postfix ask postern-rate, as far as `check` needs it for what it says of limits: by the
// words of the restrictions, without running postconf. `postern doctor` looks closely.

internal import PosternDaemon
internal import PosternMail

extension LimitHooks {
    /// - Parameter main: main.cf.
    /// - Parameter master: master.cf, whose `-o` options may ask as well.
    /// - Parameter rate: where postern-rate listens.
    init(main: [UInt8], master: [UInt8], rate: Endpoint) {
        var atRecipients = false
        var atEnd = false
        for (name, words) in MainParameters(main, file: "").values
        where words.contains(where: { rate.isMeant(by: $0.text) }) {
            // What restrictions name (a class, a variable) may stand in any of them.
            let isRestriction = name.hasPrefix("smtpd_") && name.hasSuffix("_restrictions")
            if name == Self.endOfData || !isRestriction { atEnd = true }
            if name != Self.endOfData { atRecipients = true }
        }
        for line in ImportedText.lines(master) {
            let words = line.split { ImportedText.isSpace($0) || [0x2C, 0x3D, 0x7B, 0x7D].contains($0) }.map {
                String(decoding: $0, as: UTF8.self)
            }
            guard words.first?.hasPrefix("#") == false, words.contains(where: rate.isMeant) else { continue }
            if words.contains(Self.endOfData) { atEnd = true } else { atRecipients = true }
        }
        self.init(atRecipients: atRecipients, atEnd: atEnd)
    }

    private static let endOfData = "smtpd_end_of_data_restrictions"
}

extension Endpoint {
    /// Whether a word of Postfix's, `unix:PATH` or `inet:HOST:PORT`, leads here; a path may be relative to the queue
    /// directory.
    fileprivate func isMeant(by word: String) -> Bool {
        switch self {
        case .unix(let path):
            guard word.hasPrefix("unix:") else { return false }
            let end = word.dropFirst(5)
            return !end.isEmpty && (path == end || path.hasSuffix("/" + end))
        case .tcp(_, let port): return word.hasPrefix("inet:") && word.hasSuffix(":\(port)")
        default: return false
        }
    }
}

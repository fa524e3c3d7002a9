// The lines that mend Postfix: `postconf -e` for main.cf, `postconf -P` for one service of master.cf, quoted for a
// POSIX shell. postconf -P takes no white space in a value ("-Pe does not accept whitespace"), so that lists are
// written there with commas alone, which Postfix reads alike; what cannot be written so is told as words for
// master.cf.

internal import PosternMail

struct PostfixEdit {
    let folder: String?

    private var program: String { folder.map { "postconf -c \(Self.quoted($0))" } ?? "postconf" }

    /// A line that gives `parameter` this value where it holds for `service`: in master.cf if the service has its own
    /// or is to differ from others, else in main.cf.
    func set(
        _ parameter: String, _ value: String, for service: PostfixService? = nil, apart: Bool = false
    ) -> DoctorFinding.Mend {
        // What was expanded already must not be expanded again. Source: postconf(5), "$$".
        let value = value.replacing("$", with: "$$")
        guard let service, apart || service.overrides[parameter] != nil else {
            return .command("\(program) -e \(Self.quoted("\(parameter) = \(value)"))")
        }
        guard let tight = Self.withoutSpaces(value) else {
            return .advice(
                "in master.cf, below \(service.name): -o { \(parameter) = \(value) }")
        }
        return .command("\(program) -P \(Self.quoted("\(service.place)/\(parameter)=\(tight)"))")
    }

    /// A line that takes a value away where it is set, so that main.cf's or Postfix's default holds.
    func reset(_ parameter: String, for service: PostfixService? = nil) -> DoctorFinding.Mend {
        guard let service, service.overrides[parameter] != nil else { return .command("\(program) -X \(parameter)") }
        return .command("\(program) -PX \(Self.quoted("\(service.place)/\(parameter)"))")
    }

    /// What tells Postfix.
    var reload: String { folder.map { "postfix -c \(Self.quoted($0)) reload" } ?? "postfix reload" }

    /// The same list with commas alone; nil where a space is part of a value.
    static func withoutSpaces(_ value: String) -> String? {
        guard let words = PostfixWords.split(value) else { return nil }
        var tight: [String] = []
        for word in words {
            guard word.hasPrefix("{") else {
                tight.append(word)
                continue
            }
            guard let inner = PostfixWords.split(PostfixWords.inside(word)),
                !inner.contains(where: { $0.hasPrefix("{") })
            else { return nil }
            tight.append("{\(inner.joined(separator: ","))}")
        }
        let text = tight.joined(separator: ",")
        return text.contains { $0 == " " || $0 == "\t" } ? nil : text
    }

    /// One word of a POSIX shell.
    static func quoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { octet in
                octet.isASCIIDigit || (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet)
                    || "/._-:=@+,".utf8.contains(octet)
            }
        return isPlain ? text : "'\(text.replacing("'", with: "'\\''"))'"
    }
}

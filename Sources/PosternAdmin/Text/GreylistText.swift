// What greylisting remembers, for people.

internal import PosternDaemon

enum GreylistText {
    static let head = ["STATE", "KIND", "ORIGIN", "SENDER", "RECIPIENT", "ENDS"]

    static func row(_ entry: ControlDocument) -> [String] {
        [
            entry.word("state"), entry.word("kind"), entry.word("origin"), address(entry, "sender"),
            address(entry, "recipient"), entry.shown("expires") ?? "never",
        ]
    }

    static func details(_ entry: ControlDocument) -> String {
        var rows = [["origin", entry.word("origin")], ["kind", entry.word("kind")], ["state", entry.word("state")]]
        for key in ["sender", "recipient"] where entry[key] != nil { rows.append([key, address(entry, key)]) }
        for (key, title) in [
            ("first_seen", "first seen"), ("last_seen", "last seen"), ("passed_since", "passes since"),
            ("expires", "ends"),
        ] {
            rows.append([title, entry.shown(key) ?? "never"])
        }
        if entry["kind"]?.text == "domain" {
            rows.append(["passed triplets", "\(entry.count("passed_triplets"))"])
            rows.append(["networks", entry.words("networks").joined(separator: ", ")])
        }
        return Columns.text(rows)
    }

    private static func address(_ entry: ControlDocument, _ key: String) -> String {
        entry.shown(key).map { "<\($0)>" } ?? "-"
    }
}

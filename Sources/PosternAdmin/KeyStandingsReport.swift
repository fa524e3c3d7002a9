// What a running postern-dkim knows of its keys: which sign, which wait for DNS, whose record may go. Its answer is data.

internal import PosternDaemon
internal import PosternMail

struct KeyStandingsReport {
    struct Key {
        var signs = false
        /// nil where DNS has not told yet.
        var isPublished: Bool?
        var lastUse: UnixTime?
        /// For a key that was superseded.
        var recordMayGo: UnixTime?
    }

    /// nil where postern-dkim cannot be asked.
    private let keys: [String: Key]?
    private let trouble: String
    /// For standard error.
    private(set) var notes: [String]

    /// The command of postern-dkim's control socket.
    static let command = "dkim keys"

    init(_ asked: DaemonControl) {
        notes = asked.notes
        switch asked.ask(.dkim, Self.command) {
        case .document(let document):
            trouble = ""
            var keys: [String: Key] = [:]
            for key in document["keys"]?.elements ?? [] {
                guard let name = key["name"]?.text else { continue }
                func time(_ member: String) -> UnixTime? { key[member]?.number.map { UnixTime(seconds: $0) } }
                keys[name] = Key(
                    signs: key["signs"] == .boolean(true),
                    isPublished: key["published"].map { $0 == .boolean(true) }, lastUse: time("last_use"),
                    recordMayGo: time("record_may_go"))
            }
            self.keys = keys
        case .notRunning: (keys, trouble) = (nil, "postern-dkim does not run")
        case .failed(let text):
            (keys, trouble) = (nil, "postern-dkim does not tell")
            notes.append("warning: postern-dkim: \(text)")
        }
    }

    subscript(name: DKIMKeyName) -> Key? { keys?["\(name.record)"] }

    /// Names and values for people.
    func members(of name: DKIMKeyName, _ entry: DKIMKeyEntry, now: UnixTime) -> [(String, String)] {
        let time = LogTimeText.ofThisSystem(at: now)
        var members: [(String, String)] = []
        if let made = entry.made {
            let days = max(0, (now - made).components.seconds / 86_400)
            members.append(("made", "\(time.day(made)), \(days == 1 ? "1 day" : "\(days) days") ago"))
        }
        members.append(("signing", signing(self[name], entry, now: now, time)))
        if let key = self[name] { members.append(("last use", key.lastUse.map(time.second) ?? "none known")) }
        return members
    }

    private func signing(_ key: Key?, _ entry: DKIMKeyEntry, now: UnixTime, _ time: LogTimeText) -> String {
        guard keys != nil else { return "not known: \(trouble)" }
        guard let key else { return "not known: postern-dkim has not read it; run postern reload dkim" }
        let record =
            switch key.isPublished {
            case true?: ""
            case false?: "DNS does not publish it"
            case nil: "DNS has not told yet whether it publishes it"
            }
        if key.signs { return record.isEmpty ? "yes" : "yes, though \(record)" }
        if let mayGo = key.recordMayGo {
            if key.isPublished == false { return "superseded, and its record is gone: the file may go" }
            return mayGo <= now
                ? "superseded: its record may go" : "superseded: its record may go after \(time.minute(mayGo))"
        }
        return entry.directory == nil ? "rests: \(record)" : "waits: \(record.isEmpty ? "a newer one signs" : record)"
    }
}

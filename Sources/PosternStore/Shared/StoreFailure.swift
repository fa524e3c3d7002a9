// Why a shared store did not answer, in words for an admin: what happened, and what can be done about it where that is
// known. Nothing here is a verdict: whoever asked goes on with what this host knows itself.

public enum StoreFailure: Error, Hashable, Sendable {
    /// What the server means by an error, as far as somebody must do something else about it.
    public enum Refusal: Hashable, Sendable, CaseIterable {
        /// A replica, which takes no writes; or one whose master is gone.
        case readOnly
        /// `maxmemory` is reached and nothing may be evicted.
        case full
        /// Its disk takes no snapshots, or it has too few replicas: until then it takes no writes.
        case unsafe
        /// It wants a password, or another one.
        case password
        /// The user may not do this.
        case permission
        /// It has just started and reads its data.
        case loading
        /// Busy with somebody's script.
        case busy
        /// Part of a Redis Cluster.
        case cluster
        /// No more connections, or none from outside (protected mode).
        case turnedAway
        /// There is no such database.
        case database
        /// A script's text is not known to it.
        case unknownScript
        /// Anything else: the command itself is to blame.
        case command
    }

    /// No answer in time.
    case timeout(Duration)
    /// No connection, or it broke.
    case unreachable(String)
    /// Its own words, fit for a log.
    case refused(Refusal, String)
    /// What it sent is no answer to what was asked.
    case malformed(String)
    /// It was not asked: it has failed before, for this reason, and is tried from time to time.
    case resting(String)
}

extension StoreFailure {
    /// Whether the next command would fail as well: the circuit opens.
    var isOfTheStore: Bool {
        switch self {
        case .timeout, .unreachable, .malformed: true
        // What this user may not do says little about what else it may: a try of the keeper's tells.
        case .refused(let refusal, _): ![.command, .unknownScript, .permission].contains(refusal)
        case .resting: false
        }
    }

    /// An error reply. Source: redis.io, "Redis serialization protocol": the first word is the kind.
    static func refused(_ words: some Collection<UInt8>) -> StoreFailure {
        let text = printable(words)
        let kind = text.prefix { $0 != " " }
        let refusal: Refusal =
            switch kind {
            case "READONLY", "MASTERDOWN": .readOnly
            case "OOM": .full
            case "MISCONF", "NOREPLICAS": .unsafe
            case "NOAUTH", "WRONGPASS": .password
            case "NOPERM": .permission
            case "LOADING": .loading
            case "BUSY", "UNKILLABLE": .busy
            case "MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN": .cluster
            case "DENIED": .turnedAway
            case "NOSCRIPT": .unknownScript
            default:
                if text.hasPrefix("ERR max number of clients") {
                    .turnedAway
                } else if text.hasPrefix("ERR invalid password") || text.hasPrefix("ERR AUTH") {
                    .password
                } else if text.hasPrefix("ERR DB index") || text.hasPrefix("ERR invalid DB index") {
                    .database
                } else if scriptsWithoutRight.contains(where: text.contains) {
                    .permission
                } else if let inner = Self.innerRefusal(text) {
                    inner
                } else {
                    .command
                }
            }
        return .refused(refusal, text)
    }

    /// What a user may not do has no word of its own in a script: in Redis up to 7.0, and since then and in Valkey.
    private static let scriptsWithoutRight = ["The user executing the script ", "ERR ACL failure in script: "]

    /// Before Redis 7 an error of a command in a script came in the script's: `ERR Error running script …: -OOM …`.
    private static func innerRefusal(_ text: String) -> Refusal? {
        guard text.hasPrefix("ERR Error running script") else { return nil }
        let known: [(String, Refusal)] = [
            ("-OOM ", .full), ("-READONLY ", .readOnly), ("-MISCONF ", .unsafe), ("-NOREPLICAS ", .unsafe),
            ("-NOPERM ", .permission), ("-LOADING ", .loading), ("-MOVED ", .cluster), ("-ASK ", .cluster),
        ]
        return known.first { text.contains($0.0) }?.1
    }

    private static let maxWords = 200

    /// A stranger's text for one line of a log.
    static func printable(_ octets: some Collection<UInt8>) -> String {
        String(decoding: octets.prefix(maxWords).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }
}

extension StoreFailure {
    /// Whether an admin would call it the same trouble.
    func isLike(_ other: StoreFailure) -> Bool {
        switch (self, other) {
        case (.timeout, .timeout), (.unreachable, .unreachable), (.malformed, .malformed), (.resting, .resting): true
        case (.refused(let ours, _), .refused(let theirs, _)): ours == theirs
        default: false
        }
    }
}

extension StoreFailure: CustomStringConvertible {
    public var description: String {
        switch self {
        case .timeout(let duration): "no answer within \(duration.inWords)"
        case .unreachable(let text), .malformed(let text), .resting(let text): text
        case .refused(let refusal, let words):
            refusal.advice.map { "it says \"\(words)\": \($0)" } ?? "it says \"\(words)\""
        }
    }
}

extension StoreFailure.Refusal {
    /// What it means, or what to do.
    var advice: String? {
        switch self {
        case .readOnly: "that is a replica; store.url must name the master, or the Sentinels that know it"
        case .full: "its maxmemory is used up; raise it, or look what else is kept there"
        case .unsafe: "it takes no writes until that is mended there"
        case .password: "store.password_file and store.user must be what it expects"
        case .permission: "the user needs ~postern:* +@all -@dangerous +role"
        case .loading: "it has just started and reads its data"
        case .busy: "a script of somebody else's holds it"
        case .cluster: "a Redis Cluster is not supported; use one server, or Sentinels"
        case .turnedAway: "look at its maxclients, protected-mode and bind"
        case .database: "store.url names a database that it does not have"
        case .unknownScript, .command: nil
        }
    }
}

extension Duration {
    /// `300 ms` or `20 s`, as an admin would say it.
    var inWords: String {
        let (seconds, attoseconds) = components
        let milliseconds = attoseconds / 1_000_000_000_000_000
        return milliseconds == 0 || seconds >= 10 ? "\(seconds) s" : "\(seconds * 1000 + milliseconds) ms"
    }
}

// Keeps over a restart what is known of keys, in `dkim-keys` of the state folder: without it a start at which DNS is silent
// would sign with a key that is not published yet. Text, a line a key:
//
//     2026q4._domainkey.example.com 1 1795000000 1795003600 - 0
//
// its record's name; whether DNS publishes it (1, 0, - for unknown) and since when; when it last signed; when a newer key
// took over; whether the log has said that its record may go. Times are seconds since 1970, - for none. Only hosts with a
// key directory have the file. Whatever is wrong with it costs one warning, never the start.

import PosternAuth
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization

final class KeyStateKeeper: Sendable {
    private let file: StateFile
    private let log: any LogSink
    private let state = Mutex(State())

    private struct State {
        var isLoaded = false
        var isFailing = false
        var writeAt = MonotonicTime.now()
    }

    static let name = "dkim-keys"
    /// How often it is written at most.
    static let interval = Duration.seconds(60)
    /// A thousand keys with the longest of names.
    static let maxOctets = 1 << 19

    /// - Parameter folder: of state.
    init(folder: String, log: any LogSink) {
        file = StateFile(path: "\(folder)/\(Self.name)")
        self.log = log
    }

    var path: String { file.path }
    var isThere: Bool { file.isThere }

    /// Takes what was kept, when there are keys that take turns and it was not taken yet.
    func load(into standings: KeyStandings, for keys: [DKIMSigningKey]) {
        guard keys.contains(where: { $0.series != nil }) else { return }
        state.withLock { state in
            guard !state.isLoaded else { return }
            state.isLoaded = true
            do throws(StateFile.Failure) {
                let (known, bad) = Self.read(try file.read(atMost: Self.maxOctets))
                if bad > 0 { log.warning("\(file.path): \(bad == 1 ? "1 line" : "\(bad) lines") of no key's; ignored") }
                standings.restore(known)
            } catch {
                if !error.isAbsent { log.warning("\(error); beginning without what was known of keys") }
            }
        }
    }

    /// Writes what has changed, when its time has come or nothing comes later.
    func save(
        _ standings: KeyStandings, of keys: [DKIMSigningKey], isLast: Bool = false, now: MonotonicTime = .now()
    ) {
        guard keys.contains(where: { $0.series != nil }) else { return }
        state.withLock { state in
            guard isLast || now >= state.writeAt, standings.takeChange() else { return }
            state.writeAt = now + Self.interval
            do {
                try file.replace(by: Self.written(standings.known(of: keys)))
                state.isFailing = false
            } catch {
                if !state.isFailing { log.warning("\(error); what is known of keys will not outlive a restart") }
                state.isFailing = true
                standings.noteChange()
            }
        }
    }

    // MARK: Text

    static func written(_ known: [KeyStandings.Name: KeyStanding]) -> [UInt8] {
        func time(_ time: UnixTime?) -> String { time.map { "\($0.seconds)" } ?? "-" }
        let lines = known.map { name, standing in
            let published = standing.isPublished.map { $0 ? "1" : "0" } ?? "-"
            return "\(name) \(published) \(time(standing.since)) \(time(standing.lastUse)) \(time(standing.retired)) "
                + (standing.isToldToGo ? "1\n" : "0\n")
        }
        return Array(("# postern-dkim's own\n" + lines.sorted().joined()).utf8)
    }

    /// - Returns: what the lines say, and how many say nothing.
    static func read(_ octets: [UInt8]) -> (known: [KeyStandings.Name: KeyStanding], bad: Int) {
        var known: [KeyStandings.Name: KeyStanding] = [:]
        var bad = 0
        for line in octets.split(separator: UInt8(ascii: "\n")) where line.first != UInt8(ascii: "#") {
            let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            guard words.count == 6, let name = words.first.flatMap(KeyStandings.Name.init(record:)),
                let standing = standing(words.dropFirst())
            else {
                bad += 1
                continue
            }
            known[name] = standing
        }
        return (known, bad)
    }

    private static func standing(_ words: ArraySlice<String>) -> KeyStanding? {
        var words = words
        var standing = KeyStanding()
        switch words.popFirst() {
        case "1"?: standing.isPublished = true
        case "0"?: standing.isPublished = false
        case "-"?: break
        default: return nil
        }
        for part in [\KeyStanding.since, \.lastUse, \.retired] {
            guard let word = words.popFirst() else { return nil }
            if word == "-" { continue }
            guard let seconds = Int64(word), seconds >= 0 else { return nil }
            standing[keyPath: part] = UnixTime(seconds: seconds)
        }
        switch words.popFirst() {
        case "1"?: standing.isToldToGo = true
        case "0"?: break
        default: return nil
        }
        return standing
    }
}

extension KeyStandings.Name {
    /// - Parameter record: `SELECTOR._domainkey.DOMAIN`; nil for another name.
    fileprivate init?(record: String) {
        let mark = "._domainkey."
        guard let range = record.firstRange(of: mark) else { return nil }
        // Names that are none are nobody's keys.
        guard let selector = try? DomainName(String(record[..<range.lowerBound])),
            let domain = try? DomainName(String(record[range.upperBound...])), selector.isHostname(minLabels: 1),
            domain.isHostname()
        else { return nil }
        self.init(domain: domain, selector: selector)
    }
}

// Postfix's configuration as postconf(1) tells it: parameters with what they refer to filled in, services of master.cf
// with their overrides. A value made of texts: judges and tests need no Postfix. What tables hold is not known here.

internal import PosternMail

/// One line of master.cf.
struct PostfixService: Hashable, Sendable {
    /// `smtp`, `127.0.0.1:10025`.
    var name: String
    /// `inet`, `unix`, `pass`, …
    var type: String
    var isChrooted: Bool
    /// The daemon's name: `smtpd`.
    var program: String
    /// `-o name=value`.
    var overrides: [String: String] = [:]

    /// As `postconf -P` wants it, and as findings name it.
    var place: String { "\(name)/\(type)" }
}

struct PostfixView: Sendable {
    /// `3.7.11`, `3.12-20260821`.
    var version: PostfixVersion { PostfixVersion(value("mail_version")) }
    /// What main.cf and the defaults give, all of it.
    var parameters: [String: String]
    var services: [PostfixService]
    /// `--postfix-config`, for the lines that are proposed; nil for the default.
    var folder: String?

    /// What holds for a service.
    func value(_ name: String, _ service: PostfixService? = nil) -> String {
        service?.overrides[name] ?? parameters[name] ?? ""
    }

    /// Seconds of a time that holds for a service; nil for one that Postfix cannot read.
    func seconds(_ name: String, _ service: PostfixService? = nil) -> Int? {
        PostfixWords.seconds(value(name, service))
    }

    func isYes(_ name: String, _ service: PostfixService? = nil) -> Bool { PostfixWords.isYes(value(name, service)) }

    /// Services of one program, in the order of master.cf.
    func services(of program: String) -> [PostfixService] { services.filter { $0.program == program } }

    var queueFolder: String { value("queue_directory") }
}

// MARK: From postconf's output

/// What postconf said that nobody expected.
struct PostconfError: Error, Hashable, CustomStringConvertible {
    var description: String
}

extension PostfixView {
    /// - Parameter parameters: what `postconf -x` prints.
    /// - Parameter fields: what `postconf -F` prints.
    /// - Parameter overrides: what `postconf -Px` prints.
    init(parameters: [UInt8], fields: [UInt8], overrides: [UInt8], folder: String? = nil) throws(PostconfError) {
        self.folder = folder
        var known: [String: String] = [:]
        for (name, value) in try Self.pairs(parameters, of: "-x") {
            guard known.updateValue(value, forKey: name) == nil else {
                throw Self.unexpected("-x", "each parameter once", "\(name) twice")
            }
        }
        self.parameters = known
        guard known["mail_version"] != nil, known["queue_directory"] != nil else {
            throw Self.unexpected("-x", "mail_version and queue_directory", "\(known.count) parameters without them")
        }
        // postconf(5), compatibility_level: master.cf's "-" reads as "n" since level 1.
        let isOld = known["compatibility_level"].map { $0 == "0" } ?? false
        services = try Self.services(fields, chrootByDefault: isOld)
        for (name, value) in try Self.pairs(overrides, of: "-Px") {
            let (place, last) = try Self.cut(name, of: "-Px")
            guard let index = services.firstIndex(where: { $0.place == place }) else {
                throw Self.unexpected("-Px", "a service that -F names", place)
            }
            services[index].overrides[last] = value
        }
    }

    private static func services(_ fields: [UInt8], chrootByDefault: Bool) throws(PostconfError) -> [PostfixService] {
        var found: [PostfixService] = []
        for (name, value) in try pairs(fields, of: "-F") {
            let (place, field) = try cut(name, of: "-F")
            let (service, type) = try cut(place, of: "-F")
            if field == "service" {
                guard found.count < maxServices else {
                    throw unexpected("-F", "at most \(maxServices) services", "more")
                }
                found.append(
                    PostfixService(name: service, type: type, isChrooted: chrootByDefault, program: ""))
            }
            guard let last = found.indices.last, found[last].place == place else {
                throw unexpected("-F", "the fields of one service after another", name)
            }
            switch field {
            case "chroot": found[last].isChrooted = value == "y" || (value == "-" && chrootByDefault)
            case "command": found[last].program = value.split(separator: " ").first.map(String.init) ?? ""
            default: break
            }
        }
        return found
    }

    /// `a/b/c` as `a/b` and `c`: a service's name may hold slashes, what follows it does not.
    private static func cut(_ name: String, of option: String) throws(PostconfError) -> (String, String) {
        guard let slash = name.lastIndex(of: "/"), slash > name.startIndex, name.index(after: slash) < name.endIndex
        else { throw unexpected(option, "service/type/name", name) }
        return (String(name[..<slash]), String(name[name.index(after: slash)...]))
    }

    // MARK: Lines

    /// What is read of one output; Postfix has some 900 parameters of a few hundred octets.
    static let maxOctets = 8 << 20
    private static let maxLines = 20_000
    private static let maxNameOctets = 512
    private static let maxServices = 2048

    /// Lines of `name = value`; nothing else is taken, and nothing is guessed.
    private static func pairs(_ octets: [UInt8], of option: String) throws(PostconfError) -> [(String, String)] {
        guard octets.count <= maxOctets else { throw unexpected(option, "at most \(maxOctets) octets", "more") }
        var pairs: [(String, String)] = []
        for line in octets.split(separator: 0x0A) {
            guard pairs.count < maxLines else { throw unexpected(option, "at most \(maxLines) lines", "more") }
            // A control character would be shown in a terminal and put into a shell's line.
            guard line.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }) else {
                throw unexpected(option, "text", "a control character")
            }
            guard let space = line.firstIndex(of: 0x20), space > line.startIndex,
                space - line.startIndex <= maxNameOctets
            else { throw unexpected(option, "name = value", shown(line)) }
            let name = line[..<space]
            let rest = line[space...].dropFirst()
            guard rest.first == UInt8(ascii: "="), !name.contains(UInt8(ascii: "=")),
                rest.dropFirst().first.map({ $0 == 0x20 }) ?? true
            else { throw unexpected(option, "name = value", shown(line)) }
            pairs.append(
                (String(decoding: name, as: UTF8.self), String(decoding: rest.dropFirst(2), as: UTF8.self)))
        }
        return pairs
    }

    private static func shown(_ line: ArraySlice<UInt8>) -> String { "\"\(LogText.escaped(line.prefix(80)))\"" }

    private static func unexpected(_ option: String, _ expected: String, _ found: String) -> PostconfError {
        PostconfError(description: "postconf \(option): expected \(expected), found \(found)")
    }
}

// MARK: Version

/// `mail_version`: numbers for a release, numbers and a date for a snapshot.
struct PostfixVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
    let description: String
    /// 3 for 3.7.11.
    let major: Int
    /// 7.
    let minor: Int
    /// 11; 0 where there is none.
    let patch: Int
    let isSnapshot: Bool

    init(_ text: String) {
        description = text
        let head = text.prefix { $0 != "-" }
        isSnapshot = head.count < text.count
        let numbers = head.split(separator: ".").prefix(3).map { Int($0.prefix(6)) ?? 0 }
        major = numbers.first ?? 0
        minor = numbers.dropFirst().first ?? 0
        patch = numbers.dropFirst(2).first ?? 0
    }

    static func < (left: PostfixVersion, right: PostfixVersion) -> Bool {
        (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
    }
}

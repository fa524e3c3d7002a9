// The keys that the configuration names, for the subcommands that go through them.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

/// A private key and the name under which it is to be published.
struct NamedKey {
    let name: DKIMKeyName
    let privateKey: PrivateKey
    /// Keys of one directory and algorithm take turns; nil for a key that signs by itself.
    var directory: String?
}

extension NamedKey {
    /// A configured key, and what its file holds.
    init(_ entry: DKIMKeyEntry, _ privateKey: PrivateKey) throws(CommandFailure) {
        self.init(name: try DKIMKeyName(entry), privateKey: privateKey, directory: entry.directory)
    }
}

/// The keys of a configuration that can be used, and what is wrong with the others.
struct ConfiguredKeys {
    var keys: [NamedKey] = []
    /// With those that share a directory with one of them, in the order in which they take turns.
    var all: [NamedKey] = []
    /// For standard error.
    var problems: [String] = []
}

extension GlobalOptions {
    /// The configuration's keys of this domain and selector, `nil` for all; whatever else is wrong with the file.
    /// - Throws: when there is none, or the file cannot be read.
    func configuredKeys(
        _ domain: DomainName? = nil, _ selector: DomainName? = nil, in surroundings: Surroundings
    ) throws(CommandFailure) -> ConfiguredKeys {
        let result = load(for: .dkim, in: surroundings)
        guard let entries = result.readable?.dkim.entries else { throw failure(result) }
        let wanted = entries.filter { entry in
            domain.map { $0 == entry.domain } ?? true && selector.map { $0 == entry.selector } ?? true
        }
        // Tables that are no entries since something is missing in them.
        let broken = result.problems.filter { problem in
            problem.keyPath.hasPrefix("dkim.key") && !entries.contains { problem.keyPath.hasPrefix("\($0.path).") }
        }.map { "error: \($0)" }
        guard !wanted.isEmpty else {
            var failure = missing(domain, selector, among: entries)
            if entries.isEmpty, !broken.isEmpty {
                failure.text = "expected a [[dkim.key]] in \(configPath) that can be used, found none:"
            }
            failure.notes = broken
            throw failure
        }
        var found = ConfiguredKeys(problems: domain == nil ? broken : [])
        let directories = Set(wanted.compactMap(\.directory))
        for entry in entries {
            let isWanted = wanted.contains { $0.path == entry.path && $0.selector == entry.selector }
            guard isWanted || entry.directory.map({ directories.contains($0) }) == true else { continue }
            let privateKey: PrivateKey
            do throws(DKIMKeyEntryError) { privateKey = try entry.privateKey(for: surroundings.keyReader()) } catch {
                // Another key of the directory would only say whose turn it is.
                if isWanted { found.problems.append("error: \(configPath): \(entry.keyPath): \(error)") }
                continue
            }
            let key = try NamedKey(entry, privateKey)
            found.all.append(key)
            if isWanted { found.keys.append(key) }
        }
        if found.keys.count < wanted.count, let advice = KeyAdvice.onRights(of: surroundings.keyReader()) {
            found.problems.append(advice)
        }
        return found
    }

    /// The configuration's key of this name.
    func configuredKey(_ name: DKIMKeyName, in surroundings: Surroundings) throws(CommandFailure) -> PrivateKey {
        let found = try configuredKeys(name.domain, name.selector, in: surroundings)
        guard let key = found.keys.first else {
            var failure = CommandFailure(.badConfiguration, "expected a key that can be used, found none:")
            failure.notes = found.problems
            throw failure
        }
        return key.privateKey
    }

    /// There is no key of this domain, or none of this selector too.
    private func missing(
        _ domain: DomainName?, _ selector: DomainName?, among entries: [DKIMKeyEntry]
    ) -> CommandFailure {
        guard !entries.isEmpty else {
            return CommandFailure(
                .badConfiguration,
                "\(configPath): expected a [[dkim.key]], found none; make a key by `postern dkim genkey`")
        }
        let wanted = [domain.map { "domain \"\($0)\"" }, selector.map { "selector \"\($0)\"" }]
        let names = entries.prefix(Self.maxListed).map { "\($0.selector) of \($0.domain)" }
        let rest = entries.count > Self.maxListed ? " and \(entries.count - Self.maxListed) more" : ""
        return CommandFailure(
            .badConfiguration,
            "\(configPath): expected a [[dkim.key]] of \(wanted.compactMap { $0 }.joined(separator: " and ")), found "
                + "\(names.joined(separator: ", "))\(rest); for a key that is not configured, name its file")
    }

    /// Most names that an error lists.
    private static let maxListed = 5
}

extension DKIMKeyName {
    /// The names of a configured key.
    init(_ entry: DKIMKeyEntry) throws(CommandFailure) {
        do throws(DKIMKeyNameError) { self = try DKIMKeyName(domain: entry.domain, selector: entry.selector) } catch {
            throw CommandFailure(.badConfiguration, error.text)  // too long for DNS, which `check` tells too
        }
    }
}

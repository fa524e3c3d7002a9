// `[dkim]` and `[[dkim.key]]`: how we sign and verify. What the keys may be is checked here at load, so that no message
// ever meets a key that cannot sign (RFC 6376, 8301, 8463).

public import PosternAuth
internal import PosternMail

public struct DKIMSettings: Sendable {
    /// Whether strangers' mail is verified.
    public let verify: Bool
    /// Whose From may be signed.
    public let author: AuthorRule
    public let signing: DKIMSigningSettings
    /// A key that DNS lacks or contradicts does not sign while another of its domain can.
    public let requirePublished: Bool
    /// How long the record of a directory's key stays published after a newer key took over.
    public let keepPublished: Duration
    public let verification: DKIMVerificationSettings
    /// In the order in which they are written, those of a directory oldest first; none for daemons other than
    /// postern-dkim.
    public let keys: [DKIMSigningKey]
    /// The same as they are written, for every reader of the configuration, also where the file is bad; those of
    /// directories for who may open them only.
    public let entries: [DKIMKeyEntry]
    /// The directories, also those that hold no key yet.
    public let directories: [DKIMKeyDirectory]
}

/// The header's and the body's canonicalization as `c=` names them together. Source: RFC 6376 §3.5.
struct Canonicalizations: Sendable {
    let header: HeaderCanonicalization
    let body: BodyCanonicalization

    static let all = HeaderCanonicalization.allCases.flatMap { header in
        BodyCanonicalization.allCases.map { Canonicalizations(header: header, body: $0) }
    }
    var name: String { "\(header.rawValue)/\(body.rawValue)" }
}

enum DKIMTable {
    static let verify = Key(
        "verify", .boolean, default: true,
        "Verify the signatures of strangers' mail. Say false where postern-dmarc is attached, which verifies itself.")
    static let author = Key(
        "author", .oneOf(AuthorRule.self), default: .any,
        "Whose From may be signed: \"any\" that a key signs for, \"envelope\" if it is also the envelope sender's "
            + "domain, \"login\" if the login is one of the key's users.")
    static let signHeaderFields = Key(
        "sign_header_fields", .list(of: .fieldName, atMost: 100), default: [],
        "Header fields to sign, besides From, each also against being added. Empty: those of RFC 6376 §5.4.1.")
    static let canonicalization = Key(
        "canonicalization", .oneOf(Canonicalizations.all.map { ($0.name, $0) }, name: \.name),
        default: Canonicalizations(header: .relaxed, body: .relaxed),
        "How the header and the body are made canonical: \"relaxed\" or \"simple\" for each.")
    static let expire = Key(
        "expire", .duration(in: .zero ... .seconds(3650 * 86_400)), default: .zero,
        "How long a signature holds (x=). \"0s\": for ever.")
    static let requirePublished = Key(
        "require_published", .boolean, default: true,
        "A key whose record is not in DNS, or is another key's, does not sign while another key of its domain can. Where "
            + "DNS does not answer, nothing changes.")
    static let keepPublished = Key(
        "keep_published", .duration(in: .zero ... .seconds(3650 * 86_400)), default: .seconds(7 * 86_400),
        "How long the record of a directory's key stays published after a newer key took over: longer than mail that it "
            + "signed may lie in a queue. postern-dkim says when the record may go.")
    static let minRSABits = Key(
        "min_rsa_bits", .integer(in: 1024...4096), default: 1024,
        "Smallest RSA key whose signatures pass (RFC 8301 §3.2).")
    static let maxSignatures = Key(
        "max_signatures", .integer(in: 1...100), default: 8, "Most signatures of one message that are verified.")

    static let declaration = TableDeclaration(
        "dkim", "What postern-dkim does: it signs our mail and verifies others'.",
        keys: [
            verify, author, signHeaderFields, canonicalization, expire, requirePublished, keepPublished, minRSABits,
            maxSignatures,
        ],
        tables: [DKIMKeyTable.declaration])
}

enum DKIMKeyTable {
    static let domain = RequiredKey(
        "domain", .text(.domainName()), example: Example.domain, "The domain that signs (d=).")
    static let selector = Key<DomainName?>(
        "selector", .text(.domainName(minLabels: 1, as: "a selector such as \"2026q4\"")),
        example: Example.name("2026q4"),
        "The selector: the record lies at SELECTOR._domainkey.DOMAIN (s=). Required without directory.")
    static let file = Key<String?>(
        "file", .path, example: "keys/example.com/2026q4.pem",
        "The private key, RSA or Ed25519 in PEM; mode 0400, owned by postern-dkim. Make one by `postern dkim genkey`. "
            + "Required without directory.")
    static let directory = Key<String?>(
        "directory", .path, example: "keys/example.com",
        "In place of selector and file, a folder of keys: each SELECTOR.pem in it is one, at most "
            + "\(DKIMKeyFolder.maxKeys). Of each algorithm one key signs, the newest that DNS publishes. `postern dkim "
            + "rotate` makes the next.")
    static let from = Key<[String]?>(
        "from", .list(of: .authorPattern, atLeast: 1), example: ["*@example.com"],
        "Authors (From) that it signs for: \"ann@example.com\", \"*@example.com\", \"*@*.example.com\". "
            + "Default: the domain and its subdomains.")
    static let users = Key(
        "users", .list(of: .word("a login name")), default: [], "Logins that may use it, with author = \"login\".")

    static let declaration = TableDeclaration(
        "dkim.key", isArray: true,
        "A key that signs; write this table once for each. Several keys for one domain make several signatures.",
        keys: [domain, selector, file, directory, from, users])
}

extension DKIMSettings {
    /// - Parameter user: whose rights the key files are judged for.
    init(_ values: TableValues, user: UserIdentity, _ reader: inout ValueReader) {
        verify = values[DKIMTable.verify]
        author = values[DKIMTable.author]
        let canonicalization = values[DKIMTable.canonicalization]
        let expire = values[DKIMTable.expire]
        signing = DKIMSigningSettings(
            headerCanonicalization: canonicalization.header, bodyCanonicalization: canonicalization.body,
            fields: values[DKIMTable.signHeaderFields], expire: expire == .zero ? nil : expire)
        requirePublished = values[DKIMTable.requirePublished]
        verification = DKIMVerificationSettings(
            minRSABits: values[DKIMTable.minRSABits], maxSignatures: values[DKIMTable.maxSignatures])
        keepPublished = values[DKIMTable.keepPublished]
        let tables = values[DKIMKeyTable.declaration]
        var declared: [DeclaredKey] = []
        for table in tables { declared += DeclaredKey.all(table, user: user, &reader) }
        Self.checkThatKeysDiffer(declared, &reader)
        if author == .login, !tables.isEmpty, tables.allSatisfy({ $0[DKIMKeyTable.users].isEmpty }) {
            reader.report(
                "expected users in a [[dkim.key]] for \"login\", found none: nothing would be signed",
                at: values.position(of: DKIMTable.author), keyPath: "dkim.author")
        }
        var keys: [DKIMSigningKey] = []
        for declared in declared {
            if let key = Self.key(declared, user: user, &reader) { keys.append(key) }
        }
        self.keys = keys
        entries = declared.compactMap(DKIMKeyEntry.init)
        directories = tables.compactMap(DKIMKeyDirectory.init)
    }

    /// One record can hold one key only. Source: RFC 6376 §3.6.2.2.
    private static func checkThatKeysDiffer(_ keys: [DeclaredKey], _ reader: inout ValueReader) {
        var owners: [DomainName: String] = [:]
        for key in keys {
            guard let domain = key.domain, let selector = key.selector else { continue }
            let (place, path) = key.selectorPlace
            guard let record = try? domain.prefixed("_domainkey").prefixed(selector) else {  // only length can be wrong
                reader.report(
                    "expected a selector with which SELECTOR._domainkey.DOMAIN has at most 255 octets, found more",
                    at: place, keyPath: path)
                continue
            }
            if let owner = owners[record] {
                reader.report(
                    "expected a key record of its own, found \(record), which is \(owner)'s", at: place, keyPath: path)
            } else {
                owners[record] = key.table.path
            }
        }
    }

    private static func key(_ declared: DeclaredKey, user: UserIdentity, _ reader: inout ValueReader) -> DKIMSigningKey?
    {
        guard let path = declared.file, reader.opensFiles else { return nil }
        let (position, keyPath) = declared.filePlace
        reader.keyPath = keyPath
        let privateKey: PrivateKey
        do throws(Unfit) {
            privateKey = try readKey(path, for: user)
        } catch {
            reader.report(error.text, at: position)
            return nil
        }
        guard let domain = declared.domain, let selector = declared.selector else { return nil }
        return DKIMSigningKey(
            domain: domain, selector: selector, privateKey: privateKey, from: declared.table[DKIMKeyTable.from] ?? [],
            users: declared.table[DKIMKeyTable.users], series: declared.directory)
    }

    /// Longest reason of OpenSSL's that is repeated, in characters.
    private static let maxReasonCharacters = 300

    static func readKey(_ path: String, for user: UserIdentity) throws(Unfit) -> PrivateKey {
        let pem = try SecretFile.octets(path, for: user, cap: PrivateKey.maxPEMOctets)
        guard !pem.isEmpty else {
            throw Unfit("expected an RSA or Ed25519 private key in PEM, found an empty file: \(printable(path))")
        }
        do throws(KeyError) {
            return try PrivateKey(pem: pem)
        } catch {
            let reason = printable("\(error)", most: maxReasonCharacters)
            throw Unfit("expected an RSA or Ed25519 private key in PEM, found \(reason): \(printable(path))")
        }
    }
}

// A message from a file, as postern-dkim would be handed it: the header within its caps, the author, the body. The
// octets as they came are kept too, since signing puts fields before them and changes nothing else.

internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct MessageFile {
    /// As they came.
    let octets: [UInt8]
    let header: HeaderCollector
    let author: AuthorFinding
    /// CRLF line ends.
    let body: [UInt8]

    /// - Parameter name: what the message was read from, for the failure.
    init(_ octets: [UInt8], from name: String) throws(CommandFailure) {
        let expected = "\(name): expected a message (header fields, an empty line, a body)"
        guard !octets.isEmpty else { throw CommandFailure(.badData, "\(expected), found nothing") }
        let text = MessageText(octets: octets)
        guard !text.header.isEmpty else {
            throw CommandFailure(.badData, "\(expected), found no header field in its first line")
        }
        var header = HeaderCollector()
        var author = AuthorCollector()
        for field in text.header {
            header.add(field)
            author.add(field)  // looked for in every field, capped or not (DESIGN §1, rule 7)
        }
        self.octets = octets
        self.header = header
        self.author = author.finding
        body = text.body
    }

    // MARK: Verifying

    /// What postern-dkim would find.
    func findings(settings: DKIMVerificationSettings, dns: any DNSAnswering, now: UnixTime) -> [DKIMFinding] {
        // A header over the caps is its sender's doing: never a pass, never a check left out (DESIGN §1, rule 7).
        guard header.isComplete else { return [DKIMFinding(result: .permerror, reason: .headerTooLarge)] }
        let verification = DKIMVerification(
            header: header.fields, authors: author.mailboxes.map(\.domain), settings: settings,
            keys: PublicKeyCache(), now: now)
        verification.update(body.span)
        return verification.finish(dns: dns)
    }

    // MARK: Signing

    /// The signatures' fields.
    func signatures(by keys: [DKIMSigningKey], settings: DKIMSigningSettings, now: UnixTime)
        throws(CommandFailure) -> [HeaderField]
    {
        guard header.isComplete else {
            throw CommandFailure(
                .badData,
                "expected a header of at most \(HeaderCollector.maxFields) fields and "
                    + "\(HeaderCollector.maxOctets) octets, found a larger one")
        }
        guard author != .missing else {
            // RFC 6376 §5.4: From MUST be signed.
            throw CommandFailure(.badData, "expected a message with an author, found no From field")
        }
        let signing = DKIMSigning(header: header.fields, keys: keys, settings: settings, now: now)
        signing.update(body.span)
        do throws(CryptoError) { return try signing.finish() } catch {
            throw CommandFailure(.unavailable, "expected OpenSSL to sign, found \(error)")
        }
    }

    /// A field as a header holds it, without the line end after it.
    static func text(of field: HeaderField) -> [UInt8] { field.name + [0x3A] + field.value }

    /// Fields of ours as lines with the message's own line ends.
    func lines(of fields: [HeaderField]) -> [UInt8] {
        var lines: [UInt8] = []
        for field in fields { lines += Self.text(of: field) + [0x0D, 0x0A] }
        return endsLinesWithLF ? lines.filter { $0 != 0x0D } : lines
    }

    /// The message as it came with fields on top of its header.
    func inserting(_ fields: [UInt8]) -> [UInt8] {
        var top = 0
        if MessageText.beginsWithSeparator(octets[...]) {  // it stays the first line
            top = (octets.firstIndex(of: 0x0A) ?? octets.endIndex - 1) + 1
        }
        return octets[..<top] + fields + octets[top...]
    }

    /// Whether the first line ends with LF alone; a message without line ends gets CRLF.
    private var endsLinesWithLF: Bool {
        guard let end = octets.firstIndex(of: 0x0A) else { return false }
        return end == 0 || octets[..<end].last != 0x0D
    }
}

extension Surroundings {
    /// Reads a message from a file, or from standard input for `-`.
    func message(_ path: String) throws(CommandFailure) -> MessageFile {
        try MessageFile(try read(path, atMost: Files.maxMessageOctets), from: path == "-" ? "standard input" : path)
    }

    /// Reads a private key.
    func privateKey(_ path: String) throws(CommandFailure) -> PrivateKey {
        let pem = try read(path, atMost: PrivateKey.maxPEMOctets)
        do throws(KeyError) { return try PrivateKey(pem: pem) } catch { throw CommandFailure(error, in: path) }
    }
}

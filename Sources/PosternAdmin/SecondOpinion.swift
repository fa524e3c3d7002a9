// SPF by libspf2 1.2 (Debian's package), as a second opinion beside the judge of our own: for people who wonder which
// of two receivers is right, and for tests. No daemon links it: it breaks RFC 7208 in known ways, and Debian 12 ships
// it with memory bugs (CVE-2023-42118). It asks DNS through us, never by itself. Source: spf2/spf_dns.h.

internal import CSPF2
internal import Glibc
internal import PosternDNS
internal import PosternMail

struct SecondOpinion: Equatable {
    var result: SPFResult
    /// What the library says of it.
    var reason: String
    var explanation: String?

    /// Judges the MAIL FROM identity.
    /// - Parameter sender: without NUL, which ends it for the library; empty for the null reverse-path.
    init(sender: [UInt8], client: IPAddress, helo: [UInt8], receiver: DomainName?, dns: any DNSAnswering) {
        postern_spf2_silence()
        let desk = DNSDesk(dns)
        // Alive until the library is done: it keeps a pointer.
        self = withExtendedLifetime(desk) {
            var layer = SPF_dns_server_struct()
            layer.lookup = lookUp
            layer.hook = Unmanaged.passUnretained(desk).toOpaque()
            return withUnsafeMutablePointer(to: &layer) { layer in
                Self.judged(sender, client.unmapped, helo, receiver, layer)
            }
        }
    }

    private init(_ result: SPFResult, _ reason: String, explanation: String? = nil) {
        self.result = result
        self.reason = reason
        self.explanation = explanation
    }

    private static func judged(
        _ sender: [UInt8], _ client: IPAddress, _ helo: [UInt8], _ receiver: DomainName?,
        _ layer: UnsafeMutablePointer<SPF_dns_server_t>
    ) -> SecondOpinion {
        // `destroy` of the layer is NULL: freeing the server leaves it to us.
        guard let server = SPF_server_new_dns(layer, 0), let request = SPF_request_new(server) else {
            return SecondOpinion(.temperror, "libspf2 has no memory")
        }
        defer {
            SPF_request_free(request)
            SPF_server_free(server)
        }
        _ = SPF_server_set_rec_dom(server, receiver.map(\.description) ?? "unknown")
        let isTaken =
            switch client {
            case .v4(let bits): SPF_request_set_ipv4(request, in_addr(s_addr: bits.bigEndian))
            case .v6: SPF_request_set_ipv6_str(request, client.description)
            }
        guard isTaken == SPF_E_SUCCESS else { return SecondOpinion(.permerror, text(isTaken)) }
        // The HELO name stands in for a null reverse-path when no sender is set.
        _ = SPF_request_set_helo_dom(request, String(decoding: helo, as: UTF8.self))
        if !sender.isEmpty { _ = SPF_request_set_env_from(request, String(decoding: sender, as: UTF8.self)) }
        var response: UnsafeMutablePointer<SPF_response_t>?
        let error = SPF_request_query_mailfrom(request, &response)
        guard let response else { return SecondOpinion(.temperror, text(error)) }
        defer { SPF_response_free(response) }
        return opinion(response, error)
    }

    private static func opinion(_ response: UnsafeMutablePointer<SPF_response_t>, _ error: SPF_errcode_t) -> Self {
        let code = SPF_response_errcode(response)
        let result: SPFResult? =
            switch SPF_response_result(response) {
            case SPF_RESULT_NEUTRAL: .neutral
            case SPF_RESULT_PASS: .pass
            case SPF_RESULT_FAIL: .fail
            case SPF_RESULT_SOFTFAIL: .softfail
            case SPF_RESULT_NONE: SPFResult.none
            case SPF_RESULT_TEMPERROR: .temperror
            case SPF_RESULT_PERMERROR: .permerror
            default: nil
            }
        guard let result else {
            // It has no result for what it calls an error; of these only trouble with DNS passes.
            let code = code == SPF_E_SUCCESS ? error : code
            return SecondOpinion(code == SPF_E_DNS_ERROR ? .temperror : .permerror, text(code))
        }
        let reason = code == SPF_E_SUCCESS ? text(SPF_response_reason(response)) : text(code)
        guard result == .fail, let words = SPF_response_get_explanation(response) else {
            return SecondOpinion(result, reason)
        }
        return SecondOpinion(result, reason, explanation: String(cString: words))
    }

    private static func text(_ code: SPF_errcode_t) -> String { SPF_strerror(code).map { String(cString: $0) } ?? "?" }
    private static func text(_ reason: SPF_reason_t) -> String {
        SPF_strreason(reason).map { String(cString: $0) } ?? "?"
    }
}

/// DNS for the library, while it judges.
private final class DNSDesk {
    let dns: any DNSAnswering

    init(_ dns: any DNSAnswering) { self.dns = dns }

    /// Most records of one answer that are handed over.
    static let maxRecords = 500

    /// How netdb.h says what became of a question, and the data of the records as the library keeps it.
    func answer(_ name: [UInt8], _ type: RecordType) -> (status: Int32, records: [[UInt8]]) {
        // A name from a macro may have any octets; one that cannot be asked does not exist.
        var rest = name[...]
        if rest.last == 0x2E { rest = rest.dropLast() }
        let labels = rest.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard let name = try? DomainName(labels: labels) else { return (HOST_NOT_FOUND, []) }  // as told above
        switch dns.answer(to: Question(name, type)) {
        case .records(let data, _):
            let records = data.prefix(Self.maxRecords).compactMap { Self.octets($0, type) }
            return records.isEmpty ? (NO_DATA, []) : (0, records)
        case .noData: return (NO_DATA, [])
        case .noSuchName: return (HOST_NOT_FOUND, [])
        case .temporaryFailure: return (TRY_AGAIN, [])
        }
    }

    private static func octets(_ data: RecordData, _ type: RecordType) -> [UInt8]? {
        switch data {
        case .a(let address) where type == .a: address.octets
        case .aaaa(let address) where type == .aaaa: address.octets
        case .mx(_, let exchange) where type == .mx: Array(exchange.description.utf8)
        case .ptr(let name) where type == .ptr: Array(name.description.utf8)
        case .txt(let text) where type == .txt: text
        default: nil
        }
    }
}

extension IPAddress {
    /// In network order.
    fileprivate var octets: [UInt8] {
        switch self {
        case .v4(let bits): (0..<4).map { UInt8(truncatingIfNeeded: bits >> UInt32(24 - 8 * $0)) }
        case .v6(let high, let low):
            [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * $0)) } }
        }
    }
}

/// SPF_dns_lookup_t.
private func lookUp(
    _ layer: UnsafeMutablePointer<SPF_dns_server_t>?, _ domain: UnsafePointer<CChar>?, _ type: ns_type, _: Int32
) -> UnsafeMutablePointer<SPF_dns_rr_t>? {
    guard let hook = layer?.pointee.hook, let domain, let number = UInt16(exactly: type.rawValue) else { return nil }
    let desk = Unmanaged<DNSDesk>.fromOpaque(hook).takeUnretainedValue()
    let name = UnsafeBufferPointer(start: domain, count: strlen(domain)).map { UInt8(bitPattern: $0) }
    let (status, records) = desk.answer(name, RecordType(rawValue: number))
    guard let answer = SPF_dns_rr_new_init(layer, domain, type, 0, status) else { return nil }
    for (index, record) in records.enumerated() {
        guard postern_spf2_set(answer, Int32(index), record, record.count) == 1 else { break }  // no memory: fewer
    }
    return answer
}

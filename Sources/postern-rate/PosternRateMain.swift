// postern-rate: limits by account, sender, domain, network, behind Postfix's check_policy_service. The way of a
// request: PosternPolicy's PolicyConnection -> LimitedMessage -> PosternAdmission's LimitJudge (asks the ledger) ->
// LimitVerdict -> PolicyConnection.

import PosternDaemon

@main
struct PosternRateMain {
    static func main() {
        Daemon.main(
            program: "postern-rate", purpose: "limits what clients and accounts send, as a policy service of Postfix",
            role: .rate, start: RateDaemon.start)
    }
}

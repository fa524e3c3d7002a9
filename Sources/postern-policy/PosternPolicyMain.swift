// postern-policy: rules, DNS block lists by score and greylisting, behind Postfix's check_policy_service. The way of a
// request: PosternPolicy's PolicyConnection -> JudgedMessage -> PosternAdmission's PolicyJudge -> PolicyVerdict ->
// PolicyConnection.

import PosternDaemon

@main
struct PosternPolicyMain {
    static func main() {
        Daemon.main(
            program: "postern-policy", purpose: ConfigurationRole.policy.purpose,
            role: .policy, start: PolicyDaemon.start)
    }
}
